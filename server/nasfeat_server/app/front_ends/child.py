"""A front end as the main process sees it: a child process behind a socket, one life long."""

import asyncio
import contextlib
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from nasfeat_server.app.front_ends.forwarding import Heard
from nasfeat_server.app.front_ends.process import Start
from nasfeat_server.app.generation import Core
from nasfeat_server.rpc.live import LiveStream, ToldStream
from nasfeat_server.scheduling.remote.counterpart import Counterpart
from nasfeat_server.scheduling.remote.link import Handler, Link
from nasfeat_server.telemetry.fanout import Fanout
from nasfeat_server.telemetry.load import Load
from nasfeat_server.telemetry.prometheus import PrometheusObserver

_MOST_ADDRESSES = 64


class ChildLostError(Exception):
    """The process ended while it started."""


class Child:
    """One front end's process. `start` it, let it `listen`, and `end` it in any case.

    Args:
        start: what it is told first.
        core: what it asks for.
        max_streams: that may be open, over all front ends.
        streams: where its open streams are shown.
        metrics: count what it counts.
        observer: told of everything else that it observes.
        on_load: told how many streams it has, or connections if those are more.

    Attributes:
        listening: set when it takes calls.
        lost: set when it does not speak any more, and all that it said has been heard.
        hung: it was killed for its silence.
        cache_bytes: results that it keeps.
        cpu_s: processor seconds that it has taken.
    """

    def __init__(
        self,
        *,
        start: Start,
        core: Core,
        max_streams: int,
        streams: set[Any],
        metrics: PrometheusObserver,
        observer: Fanout,
        on_load: Callable[[int], None],
    ) -> None:
        self.listening = asyncio.Event()
        self.lost = asyncio.Event()
        self.hung = False
        self.cache_bytes = 0
        self.cpu_s = 0.0
        self._start = start
        self._ready = asyncio.Event()
        self._on_load = on_load
        self._connections = 0
        self._shown = streams
        self._told: set[ToldStream] = set()
        self._heard = Heard(metrics, observer)
        self._heard_at = time.monotonic()
        handlers: dict[str, Handler] = {
            "ready": self._ready.set,
            "listening": self.listening.set,
            "alive": self._alive,
            "told": self._heard.tell,
            "streams": self._show,
        }
        self._link = Link(handlers, self.lost.set)
        self.send = self._link.send
        self._counterpart = Counterpart(
            slots=core.slots,
            dispatcher=core.dispatcher,
            windows=core.windows,
            max_streams=max_streams,
            send=self.send,
            on_load=self._loaded,
        )
        handlers.update(self._counterpart.handlers)
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
        return max(self._counterpart.streams, self._connections)

    async def start(self) -> None:
        """Start the process and return when it is ready to listen.

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
                pass_fds=(self._start.arena_fd, *fds),
                # A Ctrl-C at the terminal is for the main process.
                start_new_session=True,
            )
        await asyncio.get_running_loop().create_connection(lambda: self._link, sock=ours)
        self._linked = True
        self.send("start", pickle.dumps(self._start))
        await self._either(self._ready)

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

    def tell_state(self, load: Load) -> None:
        """Tell it how the scheduler is, and the whole server."""
        if self.listening.is_set() and not self.lost.is_set():
            self._counterpart.tell_state()
            self.tell_load(load)

    def tell_load(self, load: Load) -> None:
        """Tell it how busy the whole server is, for those who ask it."""
        self.send("load", pickle.dumps(load))

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
            self._counterpart.close()
            self._heard.lost()
            self._shown -= self._told
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

    def _show(self, told: bytes) -> None:
        # From the same program, over a socket that nobody else has.
        streams: list[tuple[LiveStream, tuple[int, float]]] = pickle.loads(told)  # noqa: S301
        self._shown -= self._told
        self._told = {ToldStream(told=live, rank=rank) for live, rank in streams}
        self._shown |= self._told
