"""What a day's streams look like: cameras, bursts and batch jobs that together offer a part of the fleet's capacity."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.devices import Device, capacity
from tests.simulation.streams import HIGH, LOW, NORMAL, Arrivals, Bursts, Job, Periodic, Poisson, Stream, seeded

from nasfeat_server.scheduling.overload import OverloadPolicy

_JITTER = 0.3
_SPREAD = 0.7
_TIGHTEST, _LOOSEST = 2.0, 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A kind of streams, and its part of all streams and of the load."""

    kind: str
    streams: float
    load: float
    weight: float
    overload: OverloadPolicy = OverloadPolicy.BLOCK
    has_deadline: bool = False
    skips: bool = False


MIX = (
    Share(kind="camera", streams=0.2, load=0.2, weight=NORMAL, skips=True),
    Share(kind="camera with deadline", streams=0.2, load=0.2, weight=NORMAL, has_deadline=True, skips=True),
    Share(kind="important camera", streams=0.1, load=0.05, weight=HIGH, has_deadline=True, skips=True),
    Share(
        kind="live camera",
        streams=0.1,
        load=0.1,
        weight=NORMAL,
        overload=OverloadPolicy.LATEST_ONLY,
        has_deadline=True,
        skips=True,
    ),
    Share(kind="bursts", streams=0.2, load=0.2, weight=NORMAL),
    Share(kind="job", streams=0.2, load=0.25, weight=LOW),
)
"""The streams of the load experiment."""


def full_batch_s(fleet: Sequence[Device]) -> float:
    """Give the time of a full batch on the fleet's median device."""
    return statistics.median(device.mean_s(device.limit) for device in fleet)


def mixed(fleet: Sequence[Device], *, streams: int, load: float, seed: int, seconds: float) -> tuple[Stream, ...]:
    """Make `MIX` of `streams` streams that offer `load` of the fleet's capacity for `seconds`.

    The rates within a kind differ (log-normal); a deadline is 2 to 6 full batches of the median device; a job starts
    in the first half.
    """
    rng = seeded(seed, "workload")
    made: list[Stream] = []
    for share in MIX:
        sizes = [rng.lognormvariate(0, _SPREAD) for _ in range(max(1, round(share.streams * streams)))]
        rate = load * share.load * capacity(fleet) / sum(sizes)
        made.extend(
            Stream(
                kind=share.kind,
                arrivals=_arrivals(share, rate * size, seconds, rng),
                weight=share.weight,
                overload=share.overload,
                deadline_s=rng.uniform(_TIGHTEST, _LOOSEST) * full_batch_s(fleet) if share.has_deadline else None,
                skips=share.skips,
            )
            for size in sizes
        )
    return tuple(made)


def _arrivals(share: Share, rate: float, seconds: float, rng: random.Random) -> Arrivals:
    if share.kind == "job":
        return Job(count=max(1, round(rate * seconds)), start_s=rng.uniform(0, seconds / 2))
    if share.kind == "bursts":
        return Bursts(rate=rate)
    return Periodic(rate=rate, jitter=_JITTER)


def flooded(fleet: Sequence[Device], *, load: float, flood: bool) -> tuple[Stream, ...]:
    """Make 16 well-behaved streams that offer `load` together, and one that sends 100 times what each of them does."""
    rate = load * capacity(fleet) / 16
    quiet = tuple(Stream(kind="quiet", arrivals=Periodic(rate=rate, jitter=_JITTER)) for _ in range(16))
    return (*quiet, Stream(kind="flood", arrivals=Poisson(rate=100 * rate))) if flood else quiet


def too_fast(device: Device) -> tuple[Stream, ...]:
    """Make one live camera that is three times as fast as `device` is with single frames."""
    arrivals = Periodic(rate=3 / device.mean_s(1), jitter=_JITTER)
    return (Stream(kind="live camera", arrivals=arrivals, overload=OverloadPolicy.LATEST_ONLY),)
