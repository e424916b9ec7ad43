"""How calls are shared out between two versions of the model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling.traffic import Split


@given(share=st.floats(0, 1), calls=st.integers(0, 500))
def test_a_share_is_kept_at_every_moment(share: float, calls: int) -> None:
    """After any number of calls the second has its share of them, to less than one call."""
    split = Split(share)
    second = 0
    for call in range(1, calls + 1):
        second += split.second()
        assert abs(second - share * call) <= 0.5 + 1e-6


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 20), (0.25, 5), (0.05, 1)])
def test_shares_are_exact(share: float, expected: int) -> None:
    """Of twenty calls the second gets none, all, a quarter or one."""
    split = Split(share)
    assert sum(split.second() for _ in range(20)) == expected


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_other_shares_are_refused(share: float) -> None:
    """A share is from 0 to 1."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        Split(share)
