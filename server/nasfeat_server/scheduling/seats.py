"""All replicas at the queue and what they can do together, kept up to date so that no frame has to ask each of them."""

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from nasfeat_server.scheduling import policy
from nasfeat_server.scheduling.admission import Means
from nasfeat_server.scheduling.limits import BatchLimit
from nasfeat_server.scheduling.seat import Seat

_NEVER_BUSY = -math.inf


class Seats:
    """The replicas that take work.

    What a frame costs here does not grow with their number, but for the logarithm: a server may have a thousand.

    Args:
        buckets: the prepared batch sizes, ascending from 1.

    Attributes:
        capacity: frames that all of them take at once.
        asking: those that wait for a batch.
    """

    def __init__(self, buckets: Sequence[int]) -> None:
        self.capacity = 0
        self.asking = Asking()
        self._seats: dict[Seat, float] = {}
        self._rate = 0.0
        self._unknown = 0
        self._free = _Sorted()
        self._least = {size: _Least(size) for size in buckets}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._seats)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._seats)

    @property
    def rate(self) -> float:
        """Frames a second of all of them in full batches; infinite as long as nothing is known of one."""
        return math.inf if self._unknown else max(0.0, self._rate)

    def rate_in(self, size: int) -> float:
        """Give the frames a second of all of them in batches of `size`, or of as many as they take."""
        batches = [(taken := min(size, seat.limit.size), seat.latency.model.predict_s(taken)) for seat in self._seats]
        return sum(taken / seconds if seconds else math.inf for taken, seconds in batches)

    def sit_down(self, seat: Seat) -> None:
        """Let a replica take part that has nothing to do yet."""
        self._seats[seat] = 0.0
        self._free.add(seat, _NEVER_BUSY)
        self.capacity += seat.limit.size
        self._learn(seat)

    def leave(self, seat: Seat) -> None:
        """Let a replica go; nothing happens if it is gone."""
        if seat not in self._seats:
            return
        self._count(seat, 0.0)
        del self._seats[seat]
        self._free.remove(seat)
        self.capacity -= seat.limit.size
        if not self._seats:
            # What additions and subtractions have left over does not outlive the replicas.
            self._rate = 0.0
        for least in self._least.values():
            least.leave(seat, self._seats)

    def limit(self, seat: Seat, limit: BatchLimit) -> None:
        """Change how large a replica's batches may be."""
        if limit is seat.limit:
            return
        if seat in self._seats:
            self.capacity += limit.size - seat.limit.size
        seat.limit = limit
        self._learn(seat)

    def begin(self, seat: Seat, size: int, now: float) -> None:
        """Note that a replica has been given a batch, which it does not wait for any more."""
        self.asking.remove(seat)
        seat.begin(size, now)
        self._free_at(seat, now)

    def end(self, seat: Seat, now: float) -> None:
        """Note that one of a replica's batches has ended, and learn how fast it is."""
        seat.end(now)
        self._free_at(seat, now)
        self.asking.move(seat)
        self._learn(seat)

    def fastest_s(self, size: int) -> float:
        """Give the seconds that a batch of `size` frames, a prepared size, takes where that is the least."""
        return self._least[size].seconds(self._seats)

    def means(self, now: float, size: int) -> Means:
        """Tell the admission what there is for a frame that will be in a batch of `size`; there is a replica."""
        return Means(rate=self.rate, free_in_s=max(0.0, self._free.first - now), batch_s=self.fastest_s(size))

    def _free_at(self, seat: Seat, now: float) -> None:
        if seat in self._seats:
            self._free.remove(seat)
            self._free.add(seat, seat.free_at(now) if seat.running else _NEVER_BUSY)

    def _learn(self, seat: Seat) -> None:
        if seat not in self._seats:
            return
        seconds = seat.latency.model.predict_s(seat.limit.size)
        self._count(seat, seat.limit.size / seconds if seconds else math.inf)
        for least in self._least.values():
            least.changed.add(seat)

    def _count(self, seat: Seat, rate: float) -> None:
        before, self._seats[seat] = self._seats[seat], rate
        self._unknown += math.isinf(rate) - math.isinf(before)
        self._rate += (0.0 if math.isinf(rate) else rate) - (0.0 if math.isinf(before) else before)


class Asking:
    """The replicas that wait for a batch: free ones by their speed, busy ones by when they will be free."""

    def __init__(self) -> None:
        self._order = itertools.count()
        self._asked: dict[Seat, int] = {}
        self._idle = _Sorted()
        self._busy = _Sorted()

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._asked)

    def add(self, seat: Seat) -> None:
        """Let a replica wait; with two batches it is given none."""
        self._asked[seat] = next(self._order)
        self._place(seat)

    def remove(self, seat: Seat) -> None:
        """Let a replica wait no longer; nothing happens if it does not."""
        if self._asked.pop(seat, None) is not None:
            self._idle.remove(seat)
            self._busy.remove(seat)

    def move(self, seat: Seat) -> None:
        """Note that one of a replica's batches has ended, if it waits for another."""
        if seat in self._asked:
            self._idle.remove(seat)
            self._busy.remove(seat)
            self._place(seat)

    def candidates(self, now: float, depth: Callable[[], int]) -> Iterator[Seat]:
        """Name those that may be given some of the `depth` frames that wait, in the order of who goes first.

        Free ones go before busy ones, the fastest first, then who waits longest. Of the busy ones those are named that
        will be free so soon that they may run ahead, for which nothing but a full batch will do. The one that was named
        last may be taken out before the next is named.
        """
        yield from self._idle.in_turn()
        left = depth()
        ahead = [seat for seat in self._busy.until(now + policy.AHEAD_S) if seat.limit.size <= left]
        for seat in sorted(ahead, key=lambda seat: (seat.latency.model.predict_s(1), self._asked[seat])):
            if seat.limit.size <= left:
                yield seat
                left = depth()

    def ahead_at(self, now: float) -> float | None:
        """Tell when the next busy one may run ahead that may not now; None if there is none."""
        free_at = self._busy.after(now + policy.AHEAD_S)
        return None if free_at is None else free_at - policy.AHEAD_S

    def _place(self, seat: Seat) -> None:
        if not seat.running:
            self._idle.add(seat, seat.latency.model.predict_s(1), self._asked[seat])
        elif seat.running == 1:
            self._busy.add(seat, seat.free_at(_NEVER_BUSY), self._asked[seat])


class _Sorted:
    """Seats by a number, the least first; those of equal numbers by another."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, float, int]] = []
        self._keys: dict[Seat, tuple[float, float, int]] = {}
        self._seats: dict[int, Seat] = {}

    def __contains__(self, seat: Seat) -> bool:
        return seat in self._keys

    @property
    def first(self) -> float:
        """The least number; there is one."""
        return self._entries[0][0]

    def add(self, seat: Seat, number: float, then: int = 0) -> None:
        key = (number, then, id(seat))
        self._keys[seat] = key
        self._seats[id(seat)] = seat
        bisect.insort(self._entries, key)

    def remove(self, seat: Seat) -> None:
        """Take `seat` out; nothing happens if it is not here."""
        key = self._keys.pop(seat, None)
        if key:
            del self._entries[bisect.bisect_left(self._entries, key)]
            del self._seats[id(seat)]

    def in_turn(self) -> Iterator[Seat]:
        """Go through all; the one that was given last may be removed meanwhile."""
        place = 0
        while place < len(self._entries):
            seat = self._seats[self._entries[place][2]]
            yield seat
            place += seat in self

    def until(self, number: float) -> list[Seat]:
        """Give those whose number is at most `number`, in order."""
        end = bisect.bisect_right(self._entries, (number, math.inf, 0))
        return [self._seats[key[2]] for key in self._entries[:end]]

    def after(self, number: float) -> float | None:
        """Give the least number above `number`."""
        place = bisect.bisect_right(self._entries, (number, math.inf, 0))
        return self._entries[place][0] if place < len(self._entries) else None


class _Least:
    """The replica that does a batch of one size, or of as many as it takes, in the least time.

    Attributes:
        changed: those that may take another time since somebody asked last, which few do.
    """

    def __init__(self, size: int) -> None:
        self.changed: set[Seat] = set()
        self._size = size
        self._least = 0.0
        self._seat: Seat | None = None

    def seconds(self, seats: dict[Seat, float]) -> float:
        while self.changed:
            self._learn(self.changed.pop(), seats)
        return self._least

    def leave(self, seat: Seat, seats: dict[Seat, float]) -> None:
        self.changed.discard(seat)
        if seat is self._seat:
            self._look(seats)

    def _learn(self, seat: Seat, seats: dict[Seat, float]) -> None:
        seconds = self._of(seat)
        if self._seat is None or seconds < self._least:
            self._least, self._seat = seconds, seat
        elif seat is self._seat and seconds > self._least:
            self._look(seats)

    def _look(self, seats: dict[Seat, float]) -> None:
        self._seat = min(seats, key=self._of, default=None)
        self._least = self._of(self._seat) if self._seat else 0.0

    def _of(self, seat: Seat) -> float:
        return seat.latency.model.predict_s(min(self._size, seat.limit.size))
