"""Percentiles without libraries: load generators run in environments that have none in common."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest of `values` that at least `share` of them, 0 < share <= 1, do not exceed (nearest rank).

    Raises:
        ValueError: there are no values, or the share is outside of its range.
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(values)} values; it takes one value and 0 < share <= 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]
