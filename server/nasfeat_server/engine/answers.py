"""Our end of the socket to a replica's process: lines in, each for whoever has waited for one the longest."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from nasfeat_server.errors import ReplicaLostError


class Answers(asyncio.Protocol):
    """What one process says. Every batch waits here: a stream of asyncio with a lock and a timeout takes twice as long.

    Args:
        device: the process's, for messages.
        hung: called when it has said nothing for too long; nothing that it says counts from then on.

    Attributes:
        over: nothing comes any more.
    """

    def __init__(self, device: str, hung: Callable[[], None]) -> None:
        self.over = False
        self._device = device
        self._hung = hung
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()
        self._incoming = bytearray()
        self._unheard: deque[bytes] = deque()
        self._waiting: deque[tuple[asyncio.Future[bytes], float]] = deque()
        # When the one who has waited longest has waited too long.
        self._due = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._end_unheard: ReplicaLostError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell those who wait that the process is gone."""
        self._end("died while it worked")
        if self._alarm:
            self._alarm.cancel()
        self._closed.set()

    def data_received(self, data: bytes) -> None:
        """Give every line that has come as a whole to those who wait, or keep it for who will."""
        incoming = self._incoming
        incoming += data
        *lines, rest = incoming.split(b"\n")
        self._incoming = rest
        for line in lines:
            if self.over:
                return
            if not self._waiting:
                self._unheard.append(bytes(line))
                continue
            future, _ = self._waiting.popleft()
            if self._waiting:
                self._watch(self._waiting[0][1])
            # Whoever is cancelled does not leave a line to the next.
            if not future.done():
                future.set_result(bytes(line))

    def send(self, line: bytes) -> None:
        """Say something to the process."""
        if self._transport:
            self._transport.write(line + b"\n")

    async def next(self, limit_s: float) -> bytes:
        """Wait for the next line behind those that others wait for, and then no longer than `limit_s`.

        Raises:
            ReplicaLostError: the process is gone or hangs; `started` if nobody else had waited longer.
        """
        if self._unheard:
            return self._unheard.popleft()
        if self.over:
            raise self._end_unheard or self._gone()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, limit_s))
        if len(self._waiting) == 1:
            self._watch(limit_s)
        return await future

    async def settled(self) -> None:
        """Return when everyone who waits has a line, or knows that there is none; nothing is said after that."""
        while waiting := [future for future, _ in self._waiting if not future.done()]:
            await asyncio.wait(waiting)
        self.over = True

    async def close(self) -> None:
        """Hang up, which ends the process."""
        self.over = True
        if self._transport:
            self._transport.close()
            await self._closed.wait()

    def _watch(self, limit_s: float) -> None:
        """Be awake when whoever waits longest has waited for `limit_s`."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + limit_s
        # One alarm for many lines: when it finds that there is time it is set again.
        if self._alarm and self._alarm.when() > self._due:
            self._alarm.cancel()
            self._alarm = None
        if not self._alarm:
            self._alarm = loop.call_at(self._due, self._check)

    def _check(self) -> None:
        self._alarm = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._due:
            self._alarm = loop.call_at(self._due, self._check)
            return
        self._end(f"gave no answer for {self._waiting[0][1]:g} s")
        self._hung()

    def _end(self, why: str) -> None:
        """Tell `why` to who has waited longest; for the others the process is gone before it was their turn."""
        if self.over and not self._waiting:
            return
        self.over = True
        error = ReplicaLostError(f"replica {self._device} {why}")
        if not self._waiting:
            self._end_unheard = error
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
            error = self._gone()

    def _gone(self) -> ReplicaLostError:
        return ReplicaLostError(f"replica {self._device} is gone", started=False)
