"""Where frames and replicas meet: a batch is put together at the moment that a replica can use it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from nasfeat_server.scheduling import limits, policy
from nasfeat_server.scheduling.lanes import Lanes
from nasfeat_server.scheduling.scaling import Look
from nasfeat_server.scheduling.seat import Batch, Seat
from nasfeat_server.scheduling.seats import Seats
from nasfeat_server.scheduling.work import Work


class FairQueue:
    """Per-stream lanes drained by pull.

    Every method decides synchronously; only `take` waits. The queue is bounded by the arena: each waiting frame
    holds a slot.

    Args:
        buckets: the prepared batch sizes, ascending from 1.
        expire: called with each frame that leaves because it cannot be done in time.
        clock: the time in seconds; `asyncio`'s timers must go by the same.

    Attributes:
        lanes: the frames that no replica has had.
        seats: the replicas that take work.
    """

    def __init__(
        self, buckets: Sequence[int], expire: Callable[[Work], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lanes: Lanes[Work] = Lanes()
        self.seats = Seats(buckets)
        self._buckets = tuple(buckets)
        self._expire = expire
        self._clock = clock
        # Frames that a replica gave back: those that have to run together as they are, and those that need not.
        self._together: deque[tuple[Work, ...]] = deque()
        self._returned: deque[Work] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._pushed = self._pushed_live = 0

    @property
    def depth(self) -> int:
        """Frames that wait for a replica."""
        waiting = self.lanes.depth + len(self._returned)
        return waiting + sum(map(len, self._together)) if self._together else waiting

    def look(self) -> Look:
        """Say what there is to do now, and who does it."""
        seats, streams = self.seats, self.lanes.live_lanes
        return Look(
            at=self._clock(),
            submitted=self._pushed,
            live=self._pushed_live,
            waiting=self.depth,
            replicas=seats.count,
            rate=seats.rate,
            live_rate=seats.rate_in(policy.largest_bucket(streams, self._buckets)) if streams else seats.rate,
        )

    def push(self, work: Work) -> None:
        """Let `work` wait in its lane."""
        self._pushed += 1
        self._pushed_live += self.lanes.is_live(work.lane)
        self.lanes.push(work)
        self._match()
        self._set_alarm()

    def give_back(self, works: Sequence[Work]) -> None:
        """Let `works`, which a replica did not finish, wait before all others."""
        self._returned.extend(works)

    def give_back_together(self, works: Sequence[Work]) -> None:
        """Let `works`, if there are any, wait before all others, to run as one batch and with no other frame."""
        if works:
            self._together.append(tuple(works))

    def remove(self, work: Work) -> bool:
        """Take `work` out; False if it does not wait here."""
        if self.lanes.remove(work):
            return True
        if work in self._returned:
            self._returned.remove(work)
            return True
        for works in self._together:
            if work in works:
                self._together.remove(works)
                if rest := tuple(other for other in works if other is not work):
                    self._together.append(rest)
                return True
        return False

    def take_out_all(self) -> list[Work]:
        """Take out every frame there is."""
        works = [*self._returned, *(work for together in self._together for work in together)]
        self._returned.clear()
        self._together.clear()
        return works + (self.lanes.take(self.lanes.depth) if self.lanes.depth else [])

    def lose(self, seat: Seat) -> None:
        """Give nothing more to a replica, which is dead."""
        seat.lost = True
        self.seats.leave(seat)

    async def dismiss_after(self, leave: asyncio.Event, seat: Seat) -> None:
        """Wait for `leave`, and give nothing more to a replica, which is alive."""
        await leave.wait()
        self.lose(seat)
        seat.dismissed = True
        if seat.request and not seat.request.done():
            self.seats.asking.remove(seat)
            seat.request.set_result(None)

    async def take(self, seat: Seat) -> Batch | None:
        """Wait for the next batch of `seat`'s replica; None if it is dismissed."""
        if seat.dismissed:
            return None
        request: asyncio.Future[Batch | None] = asyncio.get_running_loop().create_future()
        seat.request = request
        self.seats.asking.add(seat)
        self._match()
        try:
            return await request
        except asyncio.CancelledError:
            self._give_up(seat, request)
            raise

    def _give_up(self, seat: Seat, request: asyncio.Future[Batch | None]) -> None:
        self.seats.asking.remove(seat)
        if request.done() and not request.cancelled() and (batch := request.result()):
            self.seats.end(seat, self._clock())
            self.give_back(batch.works)
            self._match()

    def finished(self, seat: Seat) -> None:
        """Note that one of `seat`'s batches has ended."""
        self.seats.end(seat, self._clock())
        self._match()

    def _match(self) -> None:
        """Hand batches to the replicas that wait, as `Asking.candidates` has it."""
        if not self.depth or not self.seats.asking:
            return
        now = self._clock()
        self._take_out_hopeless(now)
        for seat in self.seats.asking.candidates(now, lambda: self.depth):
            if not self.depth:
                return
            # In the turn in which a replica is given up its request is cancelled, and still here.
            if seat.request is None or seat.request.done():
                continue
            if batch := self._form(seat, now):
                self.seats.begin(seat, len(batch.works), now)
                seat.request.set_result(batch)
        if self.depth:
            self._wake_at(self.seats.asking.ahead_at(now))

    def _take_out_hopeless(self, now: float) -> None:
        if not self._returned and self.lanes.tightest() is None:
            return
        soonest = self.seats.fastest_s(1)
        late = [work for work in self._returned if work.deadline is not None and work.deadline < now]
        for work in late:
            self._returned.remove(work)
        for work in (*late, *self.lanes.take_hopeless(now + soonest)):
            self._expire(work)

    def _form(self, seat: Seat, now: float) -> Batch | None:
        """Put the next batch together, if `seat` may have one: what was given back goes before what is new."""
        if seat.lost:
            return None
        if seat.running and not policy.may_run_ahead(seat.free_at(now) - now, self.lanes.live_depth):
            return None
        self.seats.limit(seat, limits.after_time(seat.limit, now))
        if self._together:
            return self._form_together(seat)
        if self._returned:
            size = self._size(seat, len(self._returned))
            works = tuple(self._returned.popleft() for _ in range(size))
            return Batch(works=works, close_reason="retry") if works else None
        return self._form_new(seat, now)

    def _form_together(self, seat: Seat) -> Batch | None:
        if seat.running:
            # What may kill the replica takes no other batch with it.
            return None
        works = self._together.popleft()
        size = policy.largest_bucket(min(len(works), seat.limit.size), self._buckets)
        if rest := works[size:]:
            self._together.appendleft(rest)
        return Batch(works=works[:size], close_reason="retry")

    def _form_new(self, seat: Seat, now: float) -> Batch | None:
        size = self._size(seat, self.lanes.depth)
        if not size:
            return None
        choice = policy.choose(
            size,
            buckets=self._buckets,
            model=seat.latency.model,
            start_at=seat.free_at(now),
            tightest=self.lanes.tightest(),
            crowded=self.lanes.depth > self.seats.capacity,
        )
        if seat.running and choice.size < size:
            return None
        works = self.lanes.take(choice.size, done_at=choice.done_at, urgent_before=choice.urgent_before)
        # Fewer, where streams were left out whose frames this replica cannot do in time.
        fitting = self._size(seat, len(works))
        self.lanes.put_back(works[fitting:])
        if not fitting:
            return None
        return Batch(works=tuple(works[:fitting]), close_reason=self._close_reason(seat, fitting, size))

    def _size(self, seat: Seat, waiting: int) -> int:
        return policy.batch_size(waiting=waiting, limit=seat.limit.size, buckets=self._buckets, running=seat.running)

    def _close_reason(self, seat: Seat, size: int, wanted: int) -> str:
        if size < wanted:
            return "deadline"
        return "full" if size == policy.largest_bucket(seat.limit.size, self._buckets) else "idle"

    def _wake_at(self, when: float | None) -> None:
        """Look again when a busy replica may be given its next batch, if time decides that."""
        if when is None:
            return
        if self._wake and not self._wake.cancelled() and self._wake.when() <= when:
            return
        if self._wake:
            self._wake.cancel()
        self._wake = asyncio.get_running_loop().call_at(when, self._on_wake)

    def _on_wake(self) -> None:
        self._wake = None
        self._match()

    def _set_alarm(self) -> None:
        """Be awake when the tightest deadline passes, in case that no replica asks before."""
        tightest = self.lanes.tightest()
        if self._alarm:
            if tightest is not None and self._alarm.when() <= tightest:
                return
            self._alarm.cancel()
            self._alarm = None
        if tightest is not None:
            self._alarm = asyncio.get_running_loop().call_at(tightest, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        for work in self.lanes.take_hopeless(self._clock()):
            self._expire(work)
        self._set_alarm()
