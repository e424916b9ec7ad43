"""How many replicas the load needs; time, work and what waits are numbers that the test chooses."""

import itertools
import math
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling.scaling import BUSY, EASY, Look, Scaler, ScalingPolicy

_PERIOD_S = 0.5
_POLICY = ScalingPolicy(least=1, most=8, up_after_s=5.0, down_after_s=60.0)
# Of one replica, in full batches.
_RATE = 100
_NEVER = (False,)
_COUNTS = st.integers(0, 10 * _RATE)


class _World:
    """Looks at a load, whose replicas come and go as they are wanted.

    Attributes:
        at: the time.
        warm: replicas that take work; None for as many as are wanted.
        live_rate: images of live streams that one of them does; None if there are none.
    """

    def __init__(self, policy: ScalingPolicy = _POLICY) -> None:
        self.at = 0.0
        self.scaler = Scaler(policy)
        self.warm: int | None = None
        self.live_rate: int | None = None
        self._submitted = 0

    def after(self, seconds: float, per_second: int, *, waiting: Sequence[bool] = (True,)) -> int:
        """Give how many are wanted after so long under so much."""
        return [self.scaler.wanted, *self.over(seconds, per_second, waiting=waiting)][-1]

    def over(self, seconds: float, per_second: int, *, waiting: Sequence[bool]) -> Iterator[int]:
        """Give how many are wanted at each look."""
        for _, waits in zip(range(math.ceil(seconds / _PERIOD_S)), itertools.cycle(waiting), strict=False):
            self.at += _PERIOD_S
            self._submitted += int(per_second * _PERIOD_S)
            replicas = self.scaler.wanted if self.warm is None else self.warm
            look = Look(
                at=self.at,
                submitted=self._submitted,
                live=self._submitted if self.live_rate else 0,
                waiting=int(waits),
                replicas=replicas,
                rate=float(_RATE * replicas),
                live_rate=float((self.live_rate or _RATE) * replicas),
            )
            yield self.scaler.look(look)


@pytest.mark.parametrize(
    ("per_second", "wanted"), [(0, 1), (75, 1), (76, 2), (150, 2), (240, 4), (600, 8), (10_000, 8)]
)
def test_more_work_than_the_replicas_can_do_brings_as_many_as_it_needs(per_second: int, wanted: int) -> None:
    """At once, each three quarters busy, and up to the most; but not before it has lasted."""
    world = _World()
    assert world.after(_POLICY.up_after_s, per_second) == 1
    assert world.after(_PERIOD_S, per_second) == wanted


def test_work_that_does_not_wait_brings_nothing() -> None:
    """However much it is: they keep up with it. Nor does work that waits at every other look."""
    assert _World().after(60, 200, waiting=_NEVER) == 1
    assert _World().after(60, 200, waiting=(True, False)) == 1


def test_live_streams_that_fill_no_batch_need_more() -> None:
    """Two cameras have two images at most in a batch of eight, of which a replica then does fewer; and so it stays."""
    world = _World()
    world.live_rate = 40
    assert world.after(6, 60) == 2
    assert world.after(300, 60, waiting=_NEVER) == 2


def test_a_burst_brings_nothing() -> None:
    """Four seconds of much, and none before and after."""
    world = _World()
    world.after(10, 0, waiting=_NEVER)
    world.after(4, 90)
    assert world.after(60, 0, waiting=_NEVER) == 1


def test_replicas_that_are_not_needed_end_after_a_while() -> None:
    """As many stay as the busiest stretch of that time needs, each half busy; the lower bound at last."""
    world = _World()
    assert world.after(6, 450) == 6
    assert world.after(30, 40) == 6
    world.after(10, 140)
    assert world.after(19, 40) == 6
    assert world.after(10, 40) == 3
    assert world.after(70, 0) == 1


def test_a_load_that_comes_back_keeps_its_replicas() -> None:
    """The time begins anew whenever they are needed."""
    world = _World()
    world.after(6, 450)
    for _ in range(5):
        assert world.after(50, 0) == 6
        assert world.after(10, 400) == 6


def test_replicas_that_have_not_come_yet_are_not_asked_for_again() -> None:
    """One is warm and the others wait for a node: the same work still needs as many. Without work they are let go."""
    world = _World()
    world.warm = 1
    assert world.after(6, 150) == 2
    assert world.after(300, 150) == 2
    assert world.after(70, 0, waiting=_NEVER) == 1


def test_clients_that_wait_for_answers_do_not_send_away_what_is_on_its_way() -> None:
    """They fill their windows, which needs three; then they ask for no more than the one that is warm can do."""
    world = _World()
    world.warm = 1
    assert world.after(6, 220) == 3
    assert world.after(300, 100) == 3
    assert world.after(70, 0, waiting=_NEVER) == 1


def test_nothing_is_decided_without_replicas() -> None:
    """While all are lost, there is no telling what they could do."""
    world = _World()
    world.after(6, 450)
    world.warm = 0
    assert world.after(600, 0) == 6


def test_what_replicas_can_do_is_not_guessed() -> None:
    """New ones have run no batch: nothing is asked for on their account."""
    scaler = Scaler(_POLICY)
    looks = (
        Look(at=at, submitted=1000 * at, live=0, waiting=9, replicas=1, rate=math.inf, live_rate=math.inf)
        for at in range(30)
    )
    assert {scaler.look(look) for look in looks} == {1}


@given(loads=st.lists(st.tuples(_COUNTS, st.booleans(), st.integers(0, 9)), max_size=60), least=st.integers(1, 8))
def test_the_bounds_hold(loads: list[tuple[int, bool, int]], least: int) -> None:
    """Whatever comes, and whatever becomes of the replicas."""
    world = _World(ScalingPolicy(least=least, most=8, up_after_s=1.0, down_after_s=3.0))
    for per_second, waits, world.warm in loads:
        for wanted in world.over(3, per_second, waiting=(waits,)):
            assert least <= wanted <= 8


@given(before=_COUNTS, now=_COUNTS, waiting=st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_steady_load_does_not_flap(before: int, now: int, waiting: list[bool]) -> None:
    """After whatever there was, replicas come or go, and never both."""
    now -= now % 2
    world = _World()
    world.after(10, before)
    # What was before is still in the average for so long.
    world.after(_POLICY.up_after_s + _PERIOD_S, now, waiting=waiting)
    counts = list(world.over(130, now, waiting=waiting))
    assert counts in (sorted(counts), sorted(counts, reverse=True))


@given(work=st.floats(0, 1000))
def test_what_is_too_much_for_some_is_not_too_little_for_the_next(work: float) -> None:
    """The two bounds leave room for every load."""
    assert math.ceil(work / BUSY) <= math.ceil(work / EASY)
