"""A front end as the main process sees it: a child process behind a socket, one life long."""

import asyncio
import contextlib
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nasfeat_server.app.front_ends.forwarding import Heard
from nasfeat_server.app.front_ends.messages import Start, ToldState
from nasfeat_server.app.front_ends.part import Part
from nasfeat_server.app.generation import Generation
from nasfeat_server.app.guard import Guard
from nasfeat_server.scheduling.remote.link import Handler, Link
from nasfeat_server.security.remote import AccountsCounterpart
from nasfeat_server.telemetry import logging as log
from nasfeat_server.telemetry.events import ModelLabel
from nasfeat_server.telemetry.fanout import Fanout
from nasfeat_server.telemetry.load import Load
from nasfeat_server.telemetry.prometheus import PrometheusObserver
from nasfeat_server.telemetry.traces import TraceCounts

_MOST_ADDRESSES = 64


class ChildLostError(Exception):
    """The process ended while it started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What is served under which label.

    Attributes:
        turn: numbers the arrangements.
        places: the versions with their labels.
        numbers: what each version is called in messages.
        share: the canary's, of new calls.
    """

    turn: int
    places: Mapping[ModelLabel, Generation]
    numbers: Mapping[Generation, int]
    share: float


class Child:
    """One front end's process. `start` it, `arrange` what it serves, let it `listen`, and `end` it in any case.

    Args:
        start: what it is told first.
        max_streams: that may be open, over all front ends.
        open_streams: counts those.
        metrics: count what it counts.
        observer: told of everything else that it observes.
        guard: keeps the accounts of tenants.
        on_load: told how many streams it has, or connections if those are more.
        on_left: called when it has left a version.

    Attributes:
        listening: set when it takes calls.
        lost: set when it does not speak any more, and all that it said has been heard.
        hung: it was killed for its silence.
        cache_bytes: results that it keeps.
        cpu_s: processor seconds that it has taken.
        traces: what its tracing has done.
    """

    def __init__(
        self,
        *,
        start: Start,
        max_streams: int,
        open_streams: Callable[[], int],
        metrics: PrometheusObserver,
        observer: Fanout,
        guard: Guard,
        on_load: Callable[[int], None],
        on_left: Callable[[], None],
    ) -> None:
        self.listening = asyncio.Event()
        self.lost = asyncio.Event()
        self.hung = False
        self.cache_bytes = 0
        self.cpu_s = 0.0
        self.traces = TraceCounts()
        self._start = start
        self._log_level = start.log_level
        self._begun = asyncio.Event()
        self._on_load = on_load
        self._on_left = on_left
        self._max_streams = max_streams
        self._open_streams = open_streams
        self._connections = 0
        self._heard = Heard(metrics, observer)
        self._heard_at = time.monotonic()
        handlers: dict[str, Handler] = {
            "begun": self._begun.set,
            "arranged": self._has_arranged,
            "listening": self.listening.set,
            "alive": self._alive,
            "told": self._heard.tell,
            "traced": self._set_traces,
            "refused": lambda counts: guard.heard(dict(counts)),
        }
        self._link = Link(handlers, self.lost.set)
        self.send = self._link.send
        self._accounts = AccountsCounterpart(guard.account, self.send)
        handlers.update(self._accounts.handlers)
        self._parts: dict[Generation, Part] = {}
        self._turn = 0
        self._arranged = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._linked = False
        self._sockets: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The process id once started."""
        return self._process.pid if self._process else None

    @property
    def load(self) -> int:
        """Its streams, or its connections if those are more."""
        return max(self.streams, self._connections)

    @property
    def streams(self) -> int:
        """Its streams, of all versions of the model."""
        return sum(part.stream_count for part in self._parts.values())

    def has(self, generation: Generation) -> bool:
        """Whether it may have calls of a version."""
        return generation in self._parts

    async def start(self) -> None:
        """Start the process and return when it can be told what to serve.

        Raises:
            ChildLostError: it has ended.
        """
        ours, theirs = socket.socketpair()
        self._sockets, their_sockets = socket.socketpair()
        with theirs, their_sockets:
            fds = (theirs.fileno(), their_sockets.fileno())
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "nasfeat_server.cli.front_end", *map(str, fds)),
                pass_fds=fds,
                # A Ctrl-C at the terminal is for the main process.
                start_new_session=True,
            )
        await asyncio.get_running_loop().create_connection(lambda: self._link, sock=ours)
        self._linked = True
        self.send("start", pickle.dumps(self._start))
        await self._either(self._begun)

    def arrange(self, arrangement: Arrangement) -> None:
        """Tell it what it serves from now on; what it serves else, it leaves when its calls have ended."""
        self._turn = arrangement.turn
        self._arranged.clear()
        numbers = arrangement.numbers
        for generation in arrangement.places.values():
            if generation not in self._parts:
                self._offer(generation, numbers[generation])
        places = tuple((label.value, numbers[generation]) for label, generation in arrangement.places.items())
        self.send("arrange", arrangement.turn, places, arrangement.share)

    def _offer(self, generation: Generation, number: int) -> None:
        if not self._sockets:
            raise AssertionError("a process is told what to serve once it has been started")
        part = self._parts[generation] = Part(
            number=number,
            generation=generation,
            link=self._link,
            max_streams=self._max_streams,
            open_streams=self._open_streams,
            on_load=self._loaded,
            on_left=lambda: self._left(generation),
        )
        offer, arena_fd = part.offer
        # One that is gone is found out by whoever waits for its end.
        with contextlib.suppress(OSError):
            socket.send_fds(self._sockets, [b"1"], [arena_fd])
        self.send("offer", number, pickle.dumps(offer))

    async def settled(self) -> None:
        """Return when it serves what it was told to serve last.

        Raises:
            ChildLostError: it has ended.
        """
        await self._either(self._arranged)

    async def listen(self) -> list[socket.socket]:
        """Let it take calls; gives copies of the sockets that it listens with.

        Raises:
            ChildLostError: it has ended.
        """
        self.send("listen")
        await self._either(self.listening)
        if not self._sockets:
            raise AssertionError("a process that listens has been started")
        _, fds, _, _ = socket.recv_fds(self._sockets, 1, _MOST_ADDRESSES)
        return [socket.socket(fileno=fd) for fd in fds]

    def tell(self, load: Load, state: ToldState) -> None:
        """Tell it how the scheduler is, how busy the whole server, what that serves, and what it logs."""
        for part in self._parts.values():
            part.tell_state()
        self.send("load", pickle.dumps(load))
        self.send("state", pickle.dumps(state))
        if self._log_level != log.level():
            self._log_level = log.level()
            self.send("log_level", self._log_level)

    def kill_if_silent(self, limit_s: float) -> None:
        """Kill it if it has said nothing for so long."""
        if self.listening.is_set() and time.monotonic() - self._heard_at > limit_s:
            self.hung = True
            self._kill()

    async def end(self, patience_s: float) -> int:
        """Wait for its end, or kill it, and take back what it had; returns its exit status."""
        process = self._process
        if not process:
            return 0
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s if self.lost.is_set() else 0):
                    await process.wait()
        finally:
            self._kill()
            status = await process.wait()
            # What it said last may still be on its way.
            if self._linked:
                await self.lost.wait()
            for generation in tuple(self._parts):
                self._left(generation)
            self._accounts.close()
            self._heard.lost()
            if self._sockets:
                self._sockets.close()
        return status

    async def _either(self, wanted: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(one.wait()) for one in (wanted, self.lost)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if not wanted.is_set():
            raise ChildLostError

    def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    def _alive(self, connections: int, cache_bytes: int, cpu_s: float) -> None:
        self._heard_at = time.monotonic()
        self._connections, self.cache_bytes, self.cpu_s = connections, cache_bytes, cpu_s
        self._loaded()

    def _loaded(self) -> None:
        self._on_load(self.load)

    def _left(self, generation: Generation) -> None:
        # At once: whoever knows a version that is over keeps its arena.
        self._parts.pop(generation).close()
        self._on_left()

    def _has_arranged(self, turn: int) -> None:
        if turn == self._turn:
            self._arranged.set()

    def _set_traces(self, *counts: int) -> None:
        self.traces = TraceCounts(*counts)
