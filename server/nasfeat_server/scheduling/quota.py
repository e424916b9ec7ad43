"""How many frames a second somebody may have computed, as a token bucket of pure functions.

The state is one number: the time at which the bucket will be full. What is taken pushes it away, time brings it nearer.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What is allowed.

    Attributes:
        per_second: frames a second in the long run, over 0.
        burst: frames at once after a pause, 1 or more.
    """

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What has been used of a rate; `full_at` is in seconds on the clock that `now` is of."""

    rate: Rate
    full_at: float = 0.0


def due_at(bucket: Bucket) -> float:
    """Tell from when on the next frame may be taken."""
    return bucket.full_at - (bucket.rate.burst - 1) / bucket.rate.per_second


def after_frame(bucket: Bucket, now: float) -> Bucket:
    """Take one frame, which must be due."""
    return replace(bucket, full_at=max(bucket.full_at, now) + 1 / bucket.rate.per_second)


def after_return(bucket: Bucket) -> Bucket:
    """Give one frame back that was taken and came to nothing."""
    return replace(bucket, full_at=bucket.full_at - 1 / bucket.rate.per_second)


def after_change(bucket: Bucket, rate: Rate, now: float) -> Bucket:
    """Go on at another rate, with as many frames in the bucket as there were, or as many as now fit."""
    missing = max(0.0, bucket.full_at - now) * bucket.rate.per_second
    present = min(bucket.rate.burst - missing, rate.burst)
    return Bucket(rate=rate, full_at=now + (rate.burst - present) / rate.per_second)
