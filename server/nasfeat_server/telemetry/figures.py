"""What has been counted so far, as plain values: for those who show it otherwise than Prometheus does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nasfeat_server.telemetry.events import Outcome, Stage
from nasfeat_server.telemetry.nvml import GpuReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A histogram.

    Attributes:
        bounds: ascending.
        counts: of the values up to each bound and over the one before it, and at last of those over all bounds.
    """

    bounds: Sequence[float]
    counts: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFigures:
    """Images since the start.

    Attributes:
        in_flight: received and not yet answered.
        outcomes: those whose life has ended, by how.
        stages: seconds in each stage.
    """

    in_flight: int
    outcomes: Mapping[Outcome, int]
    stages: Mapping[Stage, Counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFigures:
    """A device, and what its replicas did since the start.

    Attributes:
        device: its name.
        is_up: its replica takes work.
        is_wanted: there shall be one; not so while the load needs fewer.
        is_quarantined: its replicas died so often that it is left alone.
        busy_s: seconds that it computed.
        batches: their sizes.
        batch_limit: the largest batch now; None before the first.
        restarts: replicas that were lost.
        mean_cosine: of feature vectors to fp32's; None in fp32.
        memory_bytes: of its replicas.
        gpu: what the driver tells, of a GPU.
    """

    device: str
    is_up: bool
    is_wanted: bool
    is_quarantined: bool
    busy_s: float
    batches: Counts
    batch_limit: int | None
    restarts: int
    mean_cosine: float | None
    memory_bytes: int
    gpu: GpuReading | None = None
