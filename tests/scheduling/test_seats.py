"""What is kept up to date of all replicas is what asking each of them would tell."""

import math
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nasfeat_server.engine.interface import Executor
from nasfeat_server.scheduling import limits, policy
from nasfeat_server.scheduling.seat import Seat
from nasfeat_server.scheduling.seats import Seats

_BUCKETS = (1, 2, 4, 8)
_PICK = st.integers(0, 1000)


@dataclass(frozen=True, slots=True)
class _Replica:
    device: str
    max_batch_size: int


def _seat(largest: int = 8) -> Seat:
    return Seat(cast(Executor, _Replica("cpu:0", largest)))


class _Replicas(RuleBasedStateMachine):
    """Replicas come, ask, get batches, end them, run out of memory and go."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = Seats(_BUCKETS)
        self.there: list[Seat] = []
        self.asked: list[Seat] = []
        self.now = 0.0

    def _any(self, pick: int) -> Seat:
        return self.there[pick % len(self.there)]

    @rule(largest=st.sampled_from(_BUCKETS))
    def come(self, largest: int) -> None:
        seat = _seat(largest)
        self.there.append(seat)
        self.seats.sit_down(seat)
        self.seats.asking.add(seat)
        self.asked.append(seat)

    @precondition(lambda self: self.there)
    @rule(pick=_PICK)
    def go(self, pick: int) -> None:
        seat = self._any(pick)
        self.there.remove(seat)
        self.seats.asking.remove(seat)
        self.asked = [other for other in self.asked if other is not seat]
        self.seats.leave(seat)
        self.seats.leave(seat)

    @precondition(lambda self: any(seat.running < 2 for seat in self.asked))
    @rule(pick=_PICK, size=st.sampled_from(_BUCKETS))
    def begin(self, pick: int, size: int) -> None:
        able = [seat for seat in self.asked if seat.running < 2]
        seat = able[pick % len(able)]
        self.seats.begin(seat, min(size, seat.limit.size), self.now)
        self.asked.remove(seat)
        self.seats.asking.add(seat)
        self.asked.append(seat)

    @precondition(lambda self: any(seat.running for seat in self.there))
    @rule(pick=_PICK, size=st.sampled_from(_BUCKETS), seconds=st.floats(0.001, 1))
    def end(self, pick: int, size: int, seconds: float) -> None:
        able = [seat for seat in self.there if seat.running]
        seat = able[pick % len(able)]
        seat.latency.observe(size, seconds)
        self.seats.end(seat, self.now)

    @precondition(lambda self: self.there)
    @rule(pick=_PICK, batch=st.sampled_from(_BUCKETS))
    def run_out_of_memory(self, pick: int, batch: int) -> None:
        seat = self._any(pick)
        self.seats.limit(seat, limits.after_out_of_memory(seat.limit, batch, self.now))

    @rule(seconds=st.floats(0, 50))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for seat in self.there:
            self.seats.limit(seat, limits.after_time(seat.limit, self.now))

    @invariant()
    def what_they_can_do_is_what_each_can_do(self) -> None:
        assert list(self.seats._seats) == self.there
        assert bool(self.seats) == bool(self.there)
        assert self.seats.capacity == sum(seat.limit.size for seat in self.there)
        assert self.seats.rate == pytest.approx(sum(map(_rate, self.there)))
        for size in _BUCKETS:
            assert self.seats.fastest_s(size) == min((_seconds(seat, size) for seat in self.there), default=0.0)
        if self.there:
            free_in_s = min(seat.free_at(self.now) for seat in self.there) - self.now
            assert self.seats.means(self.now, 4).free_in_s == pytest.approx(free_in_s)

    @invariant()
    def who_goes_first_is_found(self) -> None:
        """As sorting all of them would: free ones first, the fastest first, who waits longest first."""
        able = [seat for seat in self.asked if not seat.running or (seat.running == 1 and self._soon(seat))]
        able.sort(key=lambda seat: (seat.running, seat.latency.model.predict_s(1)))
        assert list(self.seats.asking.candidates(self.now, lambda: 8)) == able
        few = [seat for seat in able if not seat.running or seat.limit.size <= 2]
        assert list(self.seats.asking.candidates(self.now, lambda: 2)) == few
        later = [seat.free_at(self.now) for seat in self.asked if seat.running == 1 and not self._soon(seat)]
        expected = min(later) - policy.AHEAD_S if later else None
        assert self.seats.asking.ahead_at(self.now) == expected

    def _soon(self, seat: Seat) -> bool:
        return seat.free_at(self.now) <= self.now + policy.AHEAD_S


def _rate(seat: Seat) -> float:
    seconds = seat.latency.model.predict_s(seat.limit.size)
    return seat.limit.size / seconds if seconds else math.inf


def _seconds(seat: Seat, size: int) -> float:
    return seat.latency.model.predict_s(min(size, seat.limit.size))


_Replicas.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestReplicas = _Replicas.TestCase


def test_who_is_taken_out_does_not_hide_the_next() -> None:
    """The one named last may be given a batch before the next is named, or be passed over."""
    seats = Seats(_BUCKETS)
    three = [_seat() for _ in range(3)]
    for seat in three:
        seats.sit_down(seat)
        seats.asking.add(seat)
    named = []
    for seat in seats.asking.candidates(0.0, lambda: 1):
        named.append(seat)
        if seat is not three[1]:
            seats.begin(seat, 1, 0.0)
    assert named == three
    assert [seat in seats.asking._asked for seat in three] == [False, True, False]
