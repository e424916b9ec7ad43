"""The frames that wait, one lane a stream, and the replicas that wait for them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from nasfeat_server.engine.interface import Executor
from nasfeat_server.scheduling import policy
from nasfeat_server.scheduling.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Frames that a replica runs together; `close_reason` as in `BatchFinished`."""

    works: tuple[Work, ...]
    close_reason: str


class Seat:
    """A replica's place at the queue: what it is doing, and its request for the next batch if it waits."""

    def __init__(self, executor: Executor) -> None:
        """Take a seat for `executor`, which has nothing to do yet."""
        self.executor = executor
        self.running = 0
        self.lost = False
        self.request: asyncio.Future[Batch] | None = None


class _Lane:
    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.deficit = 0.0
        self.works: deque[Work] = deque()


class FairQueue:
    """Per-stream lanes drained by pull: a batch is put together at the moment that a replica can use it.

    Every method decides synchronously; only `take` waits. The queue is bounded by the arena: each waiting frame
    holds a slot.
    """

    def __init__(self, buckets: Sequence[int]) -> None:
        """Form batches of the sizes in `buckets`, ascending from 1."""
        self._buckets = tuple(buckets)
        self._lanes: dict[int, _Lane] = {}
        self._turns: deque[int] = deque()
        self._returned: deque[Work] = deque()
        self._alone: deque[Work] = deque()
        self._seats: deque[Seat] = deque()
        self._next_lane = 0
        self.depth = 0

    def open_lane(self, weight: float) -> int:
        """Add a stream with its share of the devices; returns the lane's number."""
        self._next_lane += 1
        self._lanes[self._next_lane] = _Lane(weight)
        return self._next_lane

    def close_lane(self, lane: int) -> None:
        """Forget a stream that has no frames waiting."""
        del self._lanes[lane]

    def push(self, work: Work) -> None:
        """Let `work` wait in its lane."""
        lane = self._lanes[work.lane]
        if not lane.works:
            lane.deficit = 0.0
            self._turns.append(work.lane)
        lane.works.append(work)
        self.depth += 1
        self._match()

    def give_back(self, work: Work) -> None:
        """Let `work`, which a replica did not finish, wait before all others."""
        (self._alone if work.alone else self._returned).append(work)
        self.depth += 1

    def remove(self, work: Work) -> bool:
        """Take `work` out; False if it does not wait here."""
        lane = self._lanes[work.lane]
        for works in (lane.works, self._returned, self._alone):
            if work in works:
                works.remove(work)
                self.depth -= 1
                if works is lane.works and not works:
                    self._turns.remove(work.lane)
                return True
        return False

    async def take(self, seat: Seat) -> Batch:
        """Wait for the next batch of `seat`'s replica."""
        request: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
        seat.request = request
        self._seats.append(seat)
        self._match()
        try:
            return await request
        except asyncio.CancelledError:
            self._give_up(seat, request)
            raise

    def _give_up(self, seat: Seat, request: asyncio.Future[Batch]) -> None:
        if seat in self._seats:
            self._seats.remove(seat)
        if request.done() and not request.cancelled():
            seat.running -= 1
            for work in request.result().works:
                self.give_back(work)
            self._match()

    def finished(self, seat: Seat) -> None:
        """Note that one of `seat`'s batches has ended."""
        seat.running -= 1
        self._match()

    def _match(self) -> None:
        """Hand batches to the replicas that wait, the longest waiting first."""
        for seat in tuple(self._seats):
            if not self.depth:
                return
            batch = self._form(seat)
            if batch and seat.request:
                self._seats.remove(seat)
                seat.running += 1
                seat.request.set_result(batch)

    def _form(self, seat: Seat) -> Batch | None:
        """Put the next batch together, if `seat` may have one: what was given back goes before what is new."""
        if seat.lost:
            return None
        limit = 1 if self._alone else seat.executor.max_batch_size
        returned = self._alone or self._returned
        waiting = len(returned) or self.depth
        size = policy.batch_size(waiting=waiting, limit=limit, buckets=self._buckets, running=seat.running)
        if not size:
            return None
        self.depth -= size
        if returned:
            return Batch(works=tuple(returned.popleft() for _ in range(size)), close_reason="retry")
        full = size == policy.largest_bucket(limit, self._buckets)
        return Batch(works=self._pop_fairly(size), close_reason="full" if full else "idle")

    def _pop_fairly(self, size: int) -> tuple[Work, ...]:
        lanes = [self._lanes[number] for number in self._turns]
        shares = policy.share_out(
            [policy.Lane(waiting=len(lane.works), weight=lane.weight, deficit=lane.deficit) for lane in lanes], size
        )
        works: list[Work] = []
        for lane, take, deficit in zip(lanes, shares.takes, shares.deficits, strict=True):
            lane.deficit = deficit
            works.extend(lane.works.popleft() for _ in range(take))
        numbers = tuple(self._turns)
        self._turns = deque(numbers[index] for index in shares.order)
        return tuple(works)
