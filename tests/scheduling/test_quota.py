"""A tenant's rate: the decisions by property, and the line that carries them out."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling import quota
from nasfeat_server.scheduling.meter import Meter
from nasfeat_server.scheduling.quota import Bucket, Rate

_RATES = st.builds(Rate, per_second=st.floats(0.1, 1e4), burst=st.floats(1, 1e3))
_PAUSES_S = st.lists(st.floats(0, 10), max_size=60)
# So rarely that no second frame comes within a test.
_SELDOM = 1e-6


def _taken_at(bucket: Bucket, times: list[float]) -> list[float]:
    """Try to take a frame at each of `times`; gives those at which it was due."""
    taken = []
    for now in times:
        if now >= quota.due_at(bucket):
            bucket = quota.after_frame(bucket, now)
            taken.append(now)
    return taken


def _times(pauses_s: list[float]) -> list[float]:
    return [100 + sum(pauses_s[: index + 1]) for index in range(len(pauses_s))]


@given(rate=_RATES, pauses_s=_PAUSES_S)
def test_no_stretch_of_time_has_more_than_the_burst_and_the_rate(rate: Rate, pauses_s: list[float]) -> None:
    """Between any two moments at most burst + rate x time frames pass."""
    taken = _taken_at(Bucket(rate=rate), _times(pauses_s))
    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            assert last - first + 1 <= rate.burst + rate.per_second * (end - begin) + 1e-6


@given(rate=_RATES, pauses_s=_PAUSES_S)
def test_what_is_allowed_passes(rate: Rate, pauses_s: list[float]) -> None:
    """A frame that is held back would have made it more than burst + rate x time since some earlier frame."""
    taken: list[float] = []
    bucket = Bucket(rate=rate)
    for now in _times(pauses_s):
        if now >= quota.due_at(bucket):
            bucket = quota.after_frame(bucket, now)
            taken.append(now)
            continue
        assert any(
            len(taken) - index + 1 > rate.burst + rate.per_second * (now - since) - 1e-6
            for index, since in enumerate(taken)
        )


@given(rate=_RATES, pauses_s=_PAUSES_S)
def test_who_comes_when_it_is_due_passes(rate: Rate, pauses_s: list[float]) -> None:
    """`due_at` is a time at which a frame can be taken, and before it none can."""
    bucket = Bucket(rate=rate)
    now = 100.0
    for pause_s in pauses_s:
        now = max(now + pause_s, quota.due_at(bucket))
        assert _taken_at(bucket, [now]) == [now]
        bucket = quota.after_frame(bucket, now)


@given(rate=_RATES, used=st.integers(0, 50))
def test_what_is_given_back_was_never_taken(rate: Rate, used: int) -> None:
    """The bucket is as before."""
    bucket = Bucket(rate=rate)
    for _ in range(used):
        bucket = quota.after_frame(bucket, 100.0)
    again = quota.after_return(quota.after_frame(bucket, 100.0))
    assert quota.due_at(again) <= quota.due_at(quota.after_frame(bucket, 100.0))
    assert max(again.full_at, 100.0) == pytest.approx(max(bucket.full_at, 100.0))


@given(old=_RATES, new=_RATES, used=st.integers(0, 50))
def test_a_change_of_rate_gives_nobody_frames(old: Rate, new: Rate, used: int) -> None:
    """What is in the bucket stays, as far as it fits."""
    bucket = Bucket(rate=old, full_at=100.0)
    for _ in range(used):
        bucket = quota.after_frame(bucket, 100.0)
    changed = quota.after_change(bucket, new, 100.0)
    present = new.burst - (changed.full_at - 100.0) * new.per_second
    assert present == pytest.approx(min(old.burst - used, new.burst), abs=1e-6, rel=1e-6)


async def test_a_burst_passes_and_the_rest_waits_in_order() -> None:
    """First come, first served, by whichever call."""
    meter = Meter(Rate(per_second=_SELDOM, burst=3))
    passed: list[int] = []

    async def frame(number: int) -> None:
        await meter.pass_in_turn()
        passed.append(number)

    frames = [asyncio.ensure_future(frame(number)) for number in range(6)]
    await asyncio.sleep(0)
    assert (passed, meter.waiting, meter.held_back) == ([0, 1, 2], 3, 3)
    meter.give_back()
    await asyncio.sleep(0)
    assert passed == [0, 1, 2, 3]
    meter.change(None)
    await asyncio.gather(*frames)
    assert (passed, meter.waiting) == ([0, 1, 2, 3, 4, 5], 0)


async def test_time_lets_who_waits_through() -> None:
    """Without anybody's doing, at the rate."""
    meter = Meter(Rate(per_second=1000, burst=1))
    await asyncio.gather(*(meter.pass_in_turn() for _ in range(20)))
    assert (meter.held_back, meter.waiting) == (19, 0)


async def test_who_gives_up_costs_the_others_nothing() -> None:
    """A frame that leaves the line, even in the turn in which it is let through, leaves its place to the next."""
    meter = Meter(Rate(per_second=_SELDOM, burst=1))
    await meter.pass_in_turn()
    first, second, third = (asyncio.ensure_future(meter.pass_in_turn()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert meter.waiting == 2
    meter.give_back()
    first.cancel()
    await third
    assert (meter.waiting, meter.pass_now()) == (0, False)


async def test_who_does_not_wait_is_told_when_to_come_again() -> None:
    """Nobody is overtaken, and the estimate counts those who wait."""
    meter = Meter(Rate(per_second=0.1, burst=1))
    assert (meter.ready_in_s(), meter.pass_now(), meter.pass_now()) == (0.0, True, False)
    assert meter.ready_in_s() == pytest.approx(10, abs=1)
    waiting = asyncio.ensure_future(meter.pass_in_turn())
    await asyncio.sleep(0)
    assert meter.ready_in_s() == pytest.approx(20, abs=1)
    waiting.cancel()


async def test_without_a_rate_frames_are_counted_alone() -> None:
    """Nothing waits."""
    meter = Meter(None)
    assert all(meter.pass_now() for _ in range(1000))
    assert (meter.held_back, meter.ready_in_s(), meter.per_second) == (0, 0.0, None)
    meter.change(Rate(per_second=_SELDOM, burst=2))
    assert [meter.pass_now() for _ in range(3)] == [True, True, False]
