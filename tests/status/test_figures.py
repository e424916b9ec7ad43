"""What is read from histograms."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.status.figures import BAR_BOUNDS_S, bars, quantile, since
from nasfeat_server.telemetry.figures import Counts
from nasfeat_server.telemetry.tally import Buckets, Tally

_BUCKETS = Buckets((0.001, 0.01, 0.1, 1, 10), powers=(-17, 10))
# A native bucket is 2 ** (1 / 8) wide.
_WIDTH = 2 ** (1 / 8)
_SECONDS = st.lists(st.floats(1e-4, 100), min_size=1, max_size=200)


def _counts(values: list[float]) -> Counts:
    tally = Tally(_BUCKETS)
    for value in values:
        tally.add(value)
    return tally.counts()


@given(values=_SECONDS, part=st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_off_by_a_bucket_at_most(values: list[float], part: float) -> None:
    """As close as the histogram can tell to the value that stands there in their order."""
    found = quantile(_counts(values), part)
    true = float(np.quantile(values, part, method="inverted_cdf"))
    assert found is not None
    assert true / _WIDTH * 0.999 <= found <= true * _WIDTH * 1.001


def test_of_nothing_there_is_no_quantile() -> None:
    """Neither of an empty histogram nor of one that does not exist."""
    assert quantile(_counts([]), 0.5) is None
    assert quantile(Counts(bounds=(), counts=()), 0.5) is None


def test_what_is_beyond_the_last_bound_counts_as_that() -> None:
    """Half an hour in a histogram that ends at 1024 s."""
    assert quantile(_counts([1800.0]), 0.5) == 1024


@given(values=_SECONDS)
def test_bars_hold_every_value_where_it_belongs(values: list[float]) -> None:
    """Each up to its bound and over the one before."""
    found = bars(_counts(values))
    expected, _ = np.histogram(values, bins=[0, *(np.nextafter(bound, 1e9) for bound in BAR_BOUNDS_S), np.inf])
    assert list(found) == expected.tolist()


@given(before=_SECONDS, after=_SECONDS)
def test_two_looks_differ_by_what_came_between(before: list[float], after: list[float]) -> None:
    """The difference is the histogram of those alone."""
    found = since(_counts(before + after), _counts(before))
    assert tuple(found.counts) == _counts(after).counts


def test_a_first_look_has_everything() -> None:
    """Before it there was no histogram."""
    assert since(_counts([1.0]), Counts(bounds=(), counts=())) == _counts([1.0])
