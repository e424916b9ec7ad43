"""A replica's place at the queue."""

import asyncio
from dataclasses import dataclass

from nasfeat_server.engine.interface import Executor
from nasfeat_server.scheduling import limits
from nasfeat_server.scheduling.latency import LatencyTracker
from nasfeat_server.scheduling.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Frames that a replica runs together; `close_reason` as in `BatchFinished`."""

    works: tuple[Work, ...]
    close_reason: str


class Seat:
    """What a replica is doing, how fast it is, and its request for the next batch if it waits.

    Attributes:
        executor: the replica.
        running: batches that it has.
        lost: it gets nothing more, since it is dead or dismissed.
        dismissed: it is alive, and not needed any more.
        latency: how long its batches take.
        limit: how large they may be.
        announced_limit: the size of `limit` that the observer knows.
        request: where its next batch goes, while it waits for one.
    """

    def __init__(self, executor: Executor) -> None:
        """Take a seat for `executor`, which has nothing to do yet."""
        self.executor = executor
        self.running = 0
        self.lost = False
        self.dismissed = False
        self.latency = LatencyTracker()
        self.limit = limits.BatchLimit(size=executor.max_batch_size, ceiling=executor.max_batch_size)
        self.announced_limit = 0
        self.request: asyncio.Future[Batch | None] | None = None
        self._free_at = 0.0

    def __repr__(self) -> str:
        """Show what a debugging log needs."""
        return f"<Seat {self.executor.device} running={self.running} limit={self.limit.size}{' lost' * self.lost}>"

    def begin(self, size: int, now: float) -> None:
        """Note that the replica has been given `size` frames."""
        self.running += 1
        self._free_at = self.free_at(now) + self.latency.model.predict_s(size)

    def end(self, now: float) -> None:
        """Note that one of its batches has ended."""
        self.running -= 1
        if not self.running:
            self._free_at = now

    def free_at(self, now: float) -> float:
        """Estimate when the device is done with what it has."""
        return max(now, self._free_at) if self.running else now
