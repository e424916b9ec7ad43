"""Whether a frame can be ready in time, as pure functions: what cannot is refused before it costs anything."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """The live replicas, as far as their speed goes.

    Attributes:
        rate: frames a second of all of them in full batches; infinite as long as nothing is known of one.
        free_in_s: when the first of them is done with what it has.
        batch_s: what the batch that the frame would be in takes where that is the least.
    """

    rate: float
    free_in_s: float
    batch_s: float


def frames_ahead(own: int, weight: float, others: Iterable[tuple[int, float]]) -> int:
    """Count the frames that deficit round robin serves before the next frame of a stream.

    Args:
        own: frames of the stream that wait already.
        weight: the stream's share.
        others: the waiting frames and the weight of each other stream.
    """
    turns = math.ceil((own + 1) / weight)
    return own + sum(min(waiting, math.floor(turns * other)) for waiting, other in others)


def ready_in_s(ahead: int, means: Means) -> float:
    """Estimate after how many seconds a frame behind `ahead` others is computed, in batches as large as they can be.

    Args:
        ahead: frames that are served before.
        means: of the live replicas, at least one.

    Returns:
        0 as long as nothing is known about a device.
    """
    if math.isinf(means.rate):
        return 0.0
    # Those that are served before it have filled batches, but for the rest that it shares its own with.
    return means.free_in_s + ahead / means.rate + means.batch_s


def own_batch(ahead: int, buckets: Sequence[int]) -> int:
    """Tell how many frames the batch of a frame has that is behind `ahead` others: a prepared size."""
    return max(bucket for bucket in buckets if bucket <= ahead + 1)
