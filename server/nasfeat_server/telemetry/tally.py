"""Histograms that cost little to count into, shown with fixed buckets and with exponential ones.

Prometheus' native histograms have buckets whose bounds grow by a constant factor, so that a quantile read from them is
off by less than that factor, whatever the values are. Counting into those and into fixed buckets as well would cost
twice. Here one list of bounds is the union of both: a value is counted once, and both are summed up at a scrape.
"""

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client.core import HistogramMetricFamily

from nasfeat_server.telemetry.figures import Counts

SCHEMA = 3
"""The number of native buckets to a doubling, as a power of two: 8 of them, each 9 % wider than the one before."""

_BUCKETS_TO_A_DOUBLING = 2**SCHEMA
# As many empty buckets in a row are written out, which takes less room than the start of another span.
_GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A native histogram of schema `SCHEMA`: the bucket of index i holds values over 2**((i-1)/8) and up to 2**(i/8).

    Attributes:
        zero_threshold: values up to this are in the bucket for zero.
        zero_count: how many are.
        spans: runs of buckets that are shown, each by the number of buckets left out before it (the first one by its
            index) and its own number of buckets.
        deltas: for each bucket shown, how much more it holds than the one shown before it.
    """

    zero_threshold: float
    zero_count: int
    spans: Sequence[tuple[int, int]]
    deltas: Sequence[int]


class Buckets:
    """The bounds of one kind of histogram, shared by all of its series.

    Attributes:
        bounds: those of fixed and of native buckets in one ascending row.
    """

    def __init__(self, fixed: Sequence[float], *, powers: tuple[int, int]) -> None:
        """Use `fixed` bounds, ascending, and native ones from 2**powers[0] to 2**powers[1].

        What is less counts as zero in the native histogram; what is more goes to one last bucket, so that its size is
        bounded whatever the values are.
        """
        low, high = (power * _BUCKETS_TO_A_DOUBLING for power in powers)
        native = [2.0 ** (index / _BUCKETS_TO_A_DOUBLING) for index in range(low, high + 1)]
        self.bounds = tuple(sorted({*map(float, fixed), *native}))
        self._names = (*(str(float(bound)) for bound in fixed), "+Inf")
        self._fixed_cells = (*(self.bounds.index(bound) for bound in fixed), len(self.bounds))
        self._native_cells = (*(self.bounds.index(bound) for bound in native), len(self.bounds))
        self._zero_threshold = native[0]
        self._first_index = low + 1

    def fixed(self, up_to: Sequence[int]) -> list[tuple[str, float]]:
        """Give each fixed bound as text, and the number of values up to it; `up_to` has that for every bound."""
        return [(name, up_to[cell]) for name, cell in zip(self._names, self._fixed_cells, strict=True)]

    def native(self, up_to: Sequence[int]) -> Native:
        """Give the same values as a native histogram."""
        zero, *rest = (up_to[cell] for cell in self._native_cells)
        counts = [above - below for below, above in itertools.pairwise((zero, *rest))]
        spans: list[tuple[int, int]] = []
        shown: list[int] = []
        end = -self._first_index
        for place, count in enumerate(counts):
            if not count:
                continue
            gap = place - end
            if spans and gap <= _GAP:
                start, length = spans[-1]
                spans[-1] = (start, length + gap + 1)
                shown.extend([0] * gap)
            else:
                spans.append((gap, 1))
            shown.append(count)
            end = place + 1
        deltas = [after - before for before, after in itertools.pairwise((0, *shown))]
        return Native(zero_threshold=self._zero_threshold, zero_count=zero, spans=spans, deltas=deltas)


class Tally:
    """A histogram that one thread counts into; others may read it, a value late."""

    def __init__(self, buckets: Buckets) -> None:
        """Start at zero."""
        self._buckets = buckets
        self._bounds = buckets.bounds
        self._counts = [0] * (len(buckets.bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count `value`, which is 0 or more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def take(self) -> tuple[list[int], float]:
        """Give what was counted for `merge` of another process's tally, and start at zero again."""
        taken = self._counts, self._sum
        self._counts, self._sum = [0] * len(self._counts), 0.0
        return taken

    def merge(self, counts: Sequence[int], total: float) -> None:
        """Count what `take` gave of a tally with the same bounds."""
        self._counts = [own + other for own, other in zip(self._counts, counts, strict=True)]
        self._sum += total

    def counts(self) -> Counts:
        """Give what was counted."""
        return Counts(bounds=self._bounds, counts=tuple(self._counts))

    def write(self, family: "HistogramFamily", labels: Sequence[str] = ()) -> None:
        """Add what was counted to `family`, under the values of its `labels`."""
        up_to = list(itertools.accumulate(self._counts))
        family.add_metric(labels, self._buckets.fixed(up_to), self._sum)
        family.natives[tuple(labels)] = self._buckets.native(up_to)


class HistogramFamily(HistogramMetricFamily):
    """A histogram at a scrape.

    Attributes:
        natives: its series as native histograms, by the values of their labels.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        """Start without series."""
        super().__init__(name, documentation, labels=labels)
        self.natives: dict[tuple[str, ...], Native] = {}
