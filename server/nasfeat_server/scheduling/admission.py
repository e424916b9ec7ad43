"""Whether a frame can be ready in time, as pure functions: what cannot is refused before it costs anything."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nasfeat_server.scheduling.latency import LatencyModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A live replica, as far as its speed goes.

    Attributes:
        model: how long its batches take.
        limit: the largest batch it takes, a power of two.
        free_in_s: when it is done with what it has.
    """

    model: LatencyModel
    limit: int
    free_in_s: float

    @property
    def rate(self) -> float:
        """Frames a second in full batches; infinite as long as nothing is known."""
        seconds = self.model.predict_s(self.limit)
        return self.limit / seconds if seconds else math.inf


def frames_ahead(own: int, weight: float, others: Iterable[tuple[int, float]]) -> int:
    """Count the frames that deficit round robin serves before the next frame of a stream.

    Args:
        own: frames of the stream that wait already.
        weight: the stream's share.
        others: the waiting frames and the weight of each other stream.
    """
    turns = math.ceil((own + 1) / weight)
    return own + sum(min(waiting, math.floor(turns * other)) for waiting, other in others)


def ready_in_s(ahead: int, devices: Sequence[Device]) -> float:
    """Estimate after how many seconds a frame behind `ahead` others is computed, in batches as large as they can be.

    Args:
        ahead: frames that are served before.
        devices: the live replicas, at least one.

    Returns:
        0 as long as nothing is known about a device.
    """
    rate = sum(device.rate for device in devices)
    first_free_s = min(device.free_in_s for device in devices)
    # Those that are served before it have filled batches, but for the rest that it shares its own with.
    own_batch_s = min(device.model.predict_s(min(device.limit, _power_of_two(ahead + 1))) for device in devices)
    return first_free_s + ahead / rate + own_batch_s if math.isfinite(rate) else 0.0


def _power_of_two(count: int) -> int:
    """Round `count`, 1 or more, down to a prepared size."""
    return 1 << (count.bit_length() - 1)
