"""When a device gets its next replica."""

from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.engine.restarts import (
    FIRST_PAUSE_S,
    HEALTHY_AFTER_S,
    LONGEST_PAUSE_S,
    Record,
    RestartPolicy,
    after_death,
    is_quarantined,
    pause_s,
)

_NEVER = RestartPolicy(quarantine_after=1000)
_CHANCES = st.floats(0, 1, exclude_max=True)


@given(deaths=st.integers(1, 999), chance=_CHANCES)
def test_pauses_double_up_to_a_limit_and_half_of_each_is_chance(deaths: int, chance: float) -> None:
    """The n-th pause lies between half of 0.5 x 2^(n-1) seconds and all of it, and never above 30 s."""
    longest = min(FIRST_PAUSE_S * 2.0 ** min(deaths - 1, 20), LONGEST_PAUSE_S)
    assert longest / 2 <= pause_s(Record(deaths=deaths), _NEVER, chance) <= longest


def test_two_devices_that_died_together_start_apart() -> None:
    """Different chances, different pauses."""
    assert pause_s(Record(deaths=3), _NEVER, 0.1) != pause_s(Record(deaths=3), _NEVER, 0.2)


@given(lives_s=st.lists(st.one_of(st.floats(0, 59), st.floats(60, 1e6)), max_size=30))
def test_only_deaths_in_a_row_lead_to_quarantine(lives_s: list[float]) -> None:
    """Five short lives in a row do; a life of a minute or more starts the count anew."""
    policy, record, row = RestartPolicy(quarantine_after=5, quarantine_s=300), Record(), 0
    for warm_s in lives_s:
        record = after_death(record, warm_s)
        row = 1 if warm_s >= HEALTHY_AFTER_S else row + 1
        assert is_quarantined(record, policy) == (row >= 5)
        assert (pause_s(record, policy, 0.5) == 300) == (row >= 5)
