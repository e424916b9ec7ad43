"""The batch limit of a replica whose device ran out of memory; time is a number that the test chooses."""

from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling.limits import (
    FIRST_HOLD_S,
    LONGEST_HOLD_S,
    BatchLimit,
    after_out_of_memory,
    after_time,
)

_FULL = BatchLimit(size=32, ceiling=32)


def test_the_limit_is_halved_below_what_did_not_fit() -> None:
    """A batch of 32 did not fit: 16; one of 4, though 16 were allowed: 2; one of 1: 1."""
    lowered = after_out_of_memory(_FULL, 32, now=0.0)
    assert (lowered.size, lowered.raise_at) == (16, FIRST_HOLD_S)
    assert after_out_of_memory(lowered, 4, now=1.0).size == 2
    assert after_out_of_memory(lowered, 1, now=1.0).size == 1


def test_the_limit_comes_back_in_doublings() -> None:
    """Held for a while, then twice as much is tried, up to what it was."""
    limit = after_out_of_memory(after_out_of_memory(_FULL, 32, now=0.0), 16, now=0.0)
    assert after_time(limit, FIRST_HOLD_S - 1).size == 8
    sizes = []
    for step in range(1, 5):
        limit = after_time(limit, step * FIRST_HOLD_S)
        sizes.append(limit.size)
    assert sizes == [16, 32, 32, 32]
    assert limit.raise_at is None


def test_a_trial_that_fails_is_repeated_later_each_time() -> None:
    """The memory is gone for good: trials come after 30, 60, 120 s and so on, ten minutes apart at most."""
    limit, now, holds = after_out_of_memory(_FULL, 32, now=0.0), 0.0, []
    for _ in range(8):
        holds.append(limit.hold_s)
        now += limit.hold_s
        limit = after_time(limit, now)
        assert limit.size == 32
        limit = after_out_of_memory(limit, 32, now + 1)
        now += 1
        assert limit.size == 16
    assert holds == [30, 60, 120, 240, 480, 600, 600, 600]


def test_an_old_trouble_is_forgotten() -> None:
    """Long after a trial that went well, the next shortage is held as briefly as the first."""
    limit = after_time(after_out_of_memory(_FULL, 32, now=0.0), FIRST_HOLD_S)
    assert after_out_of_memory(limit, 32, now=10 * LONGEST_HOLD_S).hold_s == FIRST_HOLD_S


@given(
    steps=st.lists(st.tuples(st.floats(0, 700), st.sampled_from([0, 1, 2, 4, 8, 16, 32])), max_size=30),
)
def test_the_limit_stays_within_its_bounds(steps: list[tuple[float, int]]) -> None:
    """Whatever happens when: 1 to the ceiling, and a lowered limit always has a time to be raised."""
    limit, now = _FULL, 0.0
    for wait_s, failed in steps:
        now += wait_s
        limit = after_out_of_memory(limit, failed, now) if failed else after_time(limit, now)
        assert 1 <= limit.size <= limit.ceiling
        assert (limit.size == limit.ceiling) or limit.raise_at is not None
        assert FIRST_HOLD_S <= limit.hold_s <= LONGEST_HOLD_S
