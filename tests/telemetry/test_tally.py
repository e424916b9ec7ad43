"""Histograms counted by hand show what the library's would, and as native ones what Prometheus' own would."""

import itertools
import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram

from nasfeat_server.telemetry.tally import SCHEMA, Buckets, HistogramFamily, Native, Tally

_BOUNDS = (0.0005, 0.25, 1, 30)
_LOW, _HIGH = -3, 4
_VALUES = st.lists(st.sampled_from((0.0, *_BOUNDS, 0.2500001, 31.0)) | st.floats(0, 1e6))


def _tally(values: list[float]) -> Tally:
    tally = Tally(Buckets(_BOUNDS, powers=(_LOW, _HIGH)))
    for value in values:
        tally.add(value)
    return tally


def _shown(tally: Tally) -> HistogramFamily:
    family = HistogramFamily("name", "Help.")
    tally.write(family)
    return family


def _counts(native: Native) -> Counter[int]:
    """Count by the index of the bucket, as a reader of the format does."""
    counts: Counter[int] = Counter()
    heights = itertools.accumulate(native.deltas)
    index = 0
    for offset, length in native.spans:
        index += offset
        for height in itertools.islice(heights, length):
            counts[index] = height
            index += 1
    assert next(heights, None) is None
    return counts


@given(_VALUES)
def test_a_tally_shows_what_the_librarys_histogram_shows(values: list[float]) -> None:
    """The same values, those on a bound too: the same buckets under the same names, count and sum."""
    histogram = Histogram("name", "Help.", buckets=_BOUNDS, registry=None)
    for value in values:
        histogram.observe(value)
    [family] = histogram.collect()
    theirs = [(one.name, one.labels, one.value) for one in family.samples if not one.name.endswith("_created")]
    ours = _shown(_tally(values)).samples
    assert [(one.name, one.labels, one.value) for one in ours] == theirs


@given(_VALUES)
def test_every_value_is_in_the_native_bucket_around_it(values: list[float]) -> None:
    """By the logarithm: small ones in the bucket for zero, huge ones in the last, every other one where it belongs."""
    native = _shown(_tally(values)).natives[()]
    expected: Counter[int] = Counter()
    per_doubling = 2**SCHEMA
    for value in values:
        if value > 2.0**_LOW:
            index = math.ceil(math.log2(value) * per_doubling - 1e-9)
            expected[min(index, _HIGH * per_doubling + 1)] += 1
    assert +_counts(native) == expected
    assert native.zero_count == len(values) - expected.total()
    assert native.zero_threshold == 2.0**_LOW


def test_a_gap_of_two_buckets_is_written_out_and_a_longer_one_is_not() -> None:
    """Three values with gaps of two and of three buckets between them are two runs."""
    values = [2 ** (index / 8) for index in (1, 4, 8)]
    native = _shown(_tally(values)).natives[()]
    assert list(native.spans) == [(1, 4), (3, 1)]
    assert list(native.deltas) == [1, -1, 0, 1, 0]


def test_an_empty_histogram_has_no_buckets_and_still_says_that_it_is_native() -> None:
    """No run, no value, but the width of the bucket for zero, by which readers know the kind."""
    native = _shown(_tally([])).natives[()]
    assert not native.spans
    assert not native.deltas
    assert native.zero_threshold > 0


def test_the_number_of_buckets_is_bounded() -> None:
    """Values of every magnitude: 8 buckets to a doubling, and one for all that is larger."""
    native = _shown(_tally([1.02**step for step in range(-5000, 5000)])).natives[()]
    assert len(native.deltas) == (_HIGH - _LOW) * 2**SCHEMA + 1
