"""How long a replica takes for a batch: a + b n seconds for n frames, fitted to what it took lately."""

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """Seconds for a batch of n frames: `base_s` + `per_frame_s` n."""

    base_s: float
    per_frame_s: float

    def predict_s(self, size: int) -> float:
        """Estimate the seconds for a batch of `size` frames."""
        return self.base_s + self.per_frame_s * size


UNKNOWN = LatencyModel(base_s=0.0, per_frame_s=0.0)
"""Of a replica that has not run a batch: nothing is refused on a guess."""


def fit(typical_s: Mapping[int, float]) -> LatencyModel:
    """Fit a line through the typical seconds of each batch size, after Theil (1950) and Sen (1968).

    The slope is the median of the slopes between all pairs of sizes, so that one size measured badly, say while the
    machine was busy, does not turn the line. Neither base nor slope is negative: a larger batch never takes less.

    Args:
        typical_s: seconds by batch size. One size alone gives a line through the origin, which overestimates larger
            batches and underestimates smaller ones, until the first of those has run.
    """
    if not typical_s:
        return UNKNOWN
    if len(typical_s) == 1:
        ((size, seconds),) = typical_s.items()
        return LatencyModel(base_s=0.0, per_frame_s=seconds / size)
    pairs = itertools.combinations(sorted(typical_s.items()), 2)
    slope = max(0.0, _median([(later - sooner) / (more - fewer) for (fewer, sooner), (more, later) in pairs]))
    base = _median([seconds - slope * size for size, seconds in typical_s.items()])
    if base < 0:
        return LatencyModel(base_s=0.0, per_frame_s=_median([s / size for size, s in typical_s.items()]))
    return LatencyModel(base_s=base, per_frame_s=slope)


def _median(values: list[float]) -> float:
    """Give the middle one, or the mean of two; `statistics` takes twice as long, for every batch."""
    values.sort()
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


class LatencyTracker:
    """Keeps the last batches of one replica, and the line through them."""

    # Enough for a median that one slow batch does not move, few enough to follow a device that slows down.
    _KEPT = 15

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}
        self._typical_s: dict[int, float] = {}
        self.model = UNKNOWN

    def observe(self, size: int, seconds: float) -> None:
        """Note that a batch of `size` frames took `seconds`."""
        recent = self._seconds.setdefault(size, deque(maxlen=self._KEPT))
        recent.append(seconds)
        typical_s = _median(list(recent))
        if typical_s != self._typical_s.get(size):
            self._typical_s[size] = typical_s
            self.model = fit(self._typical_s)
