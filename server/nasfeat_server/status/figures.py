"""What is read from histograms of seconds: those of a while, their quantiles, and bars for a drawing."""

import itertools
from bisect import bisect_left
from collections.abc import Sequence

from nasfeat_server.telemetry.figures import Counts

BAR_BOUNDS_S = tuple(2.0 ** (half / 2) for half in range(-34, 15))
"""The upper bounds of the bars but the last one: from 8 us to 128 s, two for each doubling."""


def since(now: Counts, before: Counts) -> Counts:
    """Give what was counted between two looks at one histogram; one without bounds has counted nothing."""
    if not before.bounds:
        return now
    counts = [later - earlier for later, earlier in zip(now.counts, before.counts, strict=True)]
    return Counts(bounds=now.bounds, counts=counts)


def quantile(counts: Counts, part: float) -> float | None:
    """Give the value below which `part` of the values are, as if each bucket were filled evenly; None without values.

    What is beyond the last bound counts as that.
    """
    total = sum(counts.counts)
    if not total:
        return None
    up_to = list(itertools.accumulate(counts.counts))
    wanted = part * total
    cell = bisect_left(up_to, wanted)
    while not counts.counts[cell]:
        cell += 1
    if cell == len(counts.bounds):
        return counts.bounds[-1]
    low, high = counts.bounds[cell - 1] if cell else 0.0, counts.bounds[cell]
    below = up_to[cell] - counts.counts[cell]
    return low + (high - low) * (wanted - below) / counts.counts[cell]


def bars(counts: Counts) -> Sequence[int]:
    """Count anew into fewer buckets, those of `BAR_BOUNDS_S` and one for what is more."""
    found = [0] * (len(BAR_BOUNDS_S) + 1)
    for bound, count in zip(counts.bounds, counts.counts, strict=False):
        found[bisect_left(BAR_BOUNDS_S, bound)] += count
    found[-1] += counts.counts[-1] if counts.counts else 0
    return found
