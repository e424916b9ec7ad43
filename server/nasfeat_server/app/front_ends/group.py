"""Many front ends in processes of their own, kept alive: what stands for them in the main process."""

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import signal
import socket
import time
from collections.abc import Callable, Mapping

from nasfeat_server.app.front_ends.child import Arrangement, Child, ChildLostError
from nasfeat_server.app.front_ends.messages import Start, ToldModel, ToldState
from nasfeat_server.app.front_ends.process import REPORT_S, child_config
from nasfeat_server.app.generation import Generation
from nasfeat_server.app.guard import Guard
from nasfeat_server.config import Endpoint, ServerConfig
from nasfeat_server.engine import restarts
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.rpc import steering
from nasfeat_server.rpc.control import ServerState
from nasfeat_server.telemetry import logging as log
from nasfeat_server.telemetry.events import ModelLabel
from nasfeat_server.telemetry.fanout import Fanout
from nasfeat_server.telemetry.front_end_metrics import FrontEndMetrics
from nasfeat_server.telemetry.load import Load
from nasfeat_server.telemetry.prometheus import PrometheusObserver
from nasfeat_server.telemetry.traces import TraceCounts

_log = logging.getLogger(__name__)

_HANG_S = 30.0
# For a front end to end by itself once its calls have been cancelled.
_END_S = 5.0
# No front end is left alone for long: the port is the same for all.
_POLICY = restarts.RestartPolicy(quarantine_after=1000, quarantine_s=60.0)


class FrontEnds:
    """An `Edge` of `config.front_ends` processes.

    Args:
        config: the server's.
        metrics: counts what they count.
        observer: told of everything else that they observe.
        guard: keeps the accounts of tenants.
        load: how busy the whole server is.
        state: what it serves.

    Attributes:
        figures: the metrics of the front ends themselves.
    """

    def __init__(
        self,
        config: ServerConfig,
        metrics: PrometheusObserver,
        observer: Fanout,
        guard: Guard,
        *,
        load: Callable[[], Load],
        state: Callable[[], ServerState],
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._observer = observer
        self._guard = guard
        self._busy = load
        self._state = state
        self._listen = config.listen
        self.figures = FrontEndMetrics(config.front_ends, is_up=self.is_up, load=self.load)
        self._held: list[socket.socket] = []
        self._steering = steering.Steering()
        self._children: dict[int, Child] = {}
        self._arrangement = Arrangement(turn=0, places={}, numbers={}, share=0.0)
        self._numbers = itertools.count(1)
        self._ended_cpu_s = 0.0
        self._ended_traces = TraceCounts()
        self._lives: list[asyncio.Task[None]] = []
        # One begins to listen after the other, so that their order is known.
        self._turn = asyncio.Lock()
        self._first = [asyncio.Event() for _ in range(config.front_ends)]
        self._serves = False
        self._stopping = asyncio.Event()

    @property
    def serving(self) -> bool:
        """Whether health checks are told to send work here."""
        return (
            self._serves
            and not self._stopping.is_set()
            and any(one.listening.is_set() for one in self._children.values())
        )

    @property
    def cache_bytes(self) -> int:
        """Results that the front ends keep."""
        return sum(child.cache_bytes for child in tuple(self._children.values()))

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the front ends, of those too that have ended."""
        return self._ended_cpu_s + sum(child.cpu_s for child in tuple(self._children.values()))

    def traces(self) -> TraceCounts:
        """Tell what the tracing of the front ends has done, of those too that have ended."""
        return _added(self._ended_traces, *(child.traces for child in tuple(self._children.values())))

    def is_up(self, index: int) -> bool:
        """Whether a front end takes calls."""
        child = self._children.get(index)
        return child is not None and child.listening.is_set()

    def load(self, index: int) -> int:
        """Count the streams of a front end, or its connections if those are more."""
        child = self._children.get(index)
        return child.load if child else 0

    def bind(self) -> Endpoint:
        """Take the port, for them to share.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        self._listen, self._held = steering.hold(self._config.listen)
        return self._listen

    def arrange(self, places: Mapping[ModelLabel, Generation], share: float) -> None:
        """Have every front end serve these versions of the model under these labels from now on."""
        before = self._arrangement
        numbers = dict(before.numbers)
        for generation in places.values():
            if generation not in numbers:
                numbers[generation] = next(self._numbers)
        self._arrangement = Arrangement(turn=before.turn + 1, places=places, numbers=numbers, share=share)
        for child in self._children.values():
            self._tell(child)
        self._forget()

    async def settled(self) -> None:
        """Return when all front ends serve what was arranged."""
        for child in tuple(self._children.values()):
            # One that ends meanwhile is started with it.
            with contextlib.suppress(ChildLostError):
                await child.settled()

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start the processes and return when each of them takes calls."""
        config = child_config(self._config, self._listen)
        start = Start(config=config, log_level=log.level(), log_format=log.form())
        make: Callable[[int], Child] = lambda index: Child(  # noqa: E731 - of what this call was given
            start=start,
            max_streams=config.limits.max_streams,
            open_streams=lambda: sum(child.streams for child in self._children.values()),
            metrics=self._metrics,
            observer=self._observer,
            guard=self._guard,
            on_load=lambda load: self._steering.load(index, load),
            on_left=self._forget,
        )
        self._lives = [tasks.create_task(self._keep_alive(index, make)) for index in range(config.front_ends)]
        self._lives.append(tasks.create_task(self._look_after()))
        for ready in self._first:
            await ready.wait()

    def set_serving(self, serving: bool) -> None:
        """Tell health checks whether to send work here."""
        self._serves = serving
        for child in self._children.values():
            child.send("serving", serving)

    def drain(self) -> None:
        """Let them take no new work and end when what they have is answered."""
        self._stopping.set()
        self._steering.close()
        for child in self._children.values():
            child.send("stop")

    async def closed(self) -> bool:
        """Return never: a front end that closes is started again."""
        await asyncio.Event().wait()
        return True

    async def stop(self, grace_s: float) -> None:
        """Wait up to `grace_s` for their calls, and a little for them, then end them."""
        self._stopping.set()
        lives = [task for task in self._lives if not task.done()]
        if lives and grace_s:
            await asyncio.wait(lives[:-1], timeout=grace_s + _END_S)
        for task in lives:
            task.cancel()
        if lives:
            await asyncio.wait(lives)
        self._steering.close()
        for one in self._held:
            one.close()

    async def _keep_alive(self, index: int, make: Callable[[int], Child]) -> None:
        record = restarts.Record()
        while not self._stopping.is_set():
            up_at = time.monotonic()
            cause = await self._live(index, make(index))
            if self._stopping.is_set():
                return
            if not self._first[index].is_set():
                raise ConfigurationError(f"front end {index} did not start: {cause}; see the log")
            self.figures.died(index)
            record = restarts.after_death(record, time.monotonic() - up_at)
            _log.warning("front end %d is gone (%s) with its connections, and is started again", index, cause)
            await asyncio.sleep(restarts.pause_s(record, _POLICY, 0.0))

    async def _live(self, index: int, child: Child) -> str:
        """Run one process from its start to its end; returns why it ended."""
        try:
            with contextlib.suppress(ChildLostError):
                await child.start()
                self._children[index] = child
                child.send("serving", self._serves)
                self._tell(child)
                await child.settled()
                async with self._turn:
                    self._steering.join(index, await child.listen())
                self._first[index].set()
                _log.info("front end %d (pid %s) takes calls", index, child.pid)
                self._stop_late(child)
            await child.lost.wait()
            self._steering.suspend(index)
        finally:
            status = await child.end(_END_S)
            self._steering.leave(index)
            if self._children.get(index) is child:
                self._ended_traces = _added(self._ended_traces, child.traces)
                self._ended_cpu_s += child.cpu_s
                del self._children[index]
        return "hung" if child.hung else "exited" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    def _stop_late(self, child: Child) -> None:
        # It may have been told to stop before it listened, which it would not have minded.
        if self._stopping.is_set():
            child.send("stop")

    async def _look_after(self) -> None:
        while True:
            load, state = self._busy(), self._told_state()
            for child in tuple(self._children.values()):
                if not child.lost.is_set():
                    child.tell(load, state)
                child.kill_if_silent(_HANG_S)
            await asyncio.sleep(REPORT_S)

    def _tell(self, child: Child) -> None:
        child.arrange(self._arrangement)
        child.tell(self._busy(), self._told_state())

    def _forget(self) -> None:
        """Know only versions that are arranged, or that a front end has calls of."""
        now = self._arrangement
        children = tuple(self._children.values())
        known = {
            one: number
            for one, number in now.numbers.items()
            if one in now.places.values() or any(child.has(one) for child in children)
        }
        self._arrangement = dataclasses.replace(now, numbers=known)

    def _told_state(self) -> ToldState:
        """Say what the server serves, as far as front ends know of it."""
        state, known = self._state(), self._arrangement.numbers
        numbers = {id(generation.loaded.result()): number for generation, number in known.items()}
        models = tuple(
            ToldModel(
                number=numbers[id(model.served)], label=model.label, share=model.share, warm_devices=model.warm_devices
            )
            for model in state.models
            if id(model.served) in numbers
        )
        return ToldState(models=models, loading=state.loading, ready=state.ready)


def _added(*counts: TraceCounts) -> TraceCounts:
    return TraceCounts(*map(sum, zip(*counts, strict=True)))
