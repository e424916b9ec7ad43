"""What one version of the model has done since it was loaded: the events of its images and batches, counted."""

import time
from dataclasses import dataclass, field, fields
from typing import Any

from nasfeat_server.telemetry.events import BatchFinished, FrameFinished, Observer, Outcome, Source, Stage


@dataclass(slots=True)
class Duration:
    """How often something was done, and how many seconds all of it took."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.seconds += seconds

    def merge(self, other: "Duration") -> None:
        """Add what has been counted elsewhere."""
        self.count += other.count
        self.seconds += other.seconds


def _durations() -> dict[Stage, Duration]:
    return {stage: Duration() for stage in Stage}


@dataclass(slots=True, kw_only=True)
class VersionCounts:
    """What there is to tell of it.

    Attributes:
        success: images that got their outputs.
        fail: those that did not, but for those that nobody waited for any more.
        cached: those of `success` whose results were kept from before.
        stages: time of images with outputs in each stage.
        batches: batches by their size, and the time of a device.
        last_at: when an image last got its outputs, in seconds since 1970; 0 for never.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    cached: Duration = field(default_factory=Duration)
    stages: dict[Stage, Duration] = field(default_factory=_durations)
    batches: dict[int, Duration] = field(default_factory=dict)
    last_at: float = 0.0

    def merge(self, other: "VersionCounts") -> None:
        """Add what another process has counted."""
        for own, more in ((self.success, other.success), (self.fail, other.fail), (self.cached, other.cached)):
            own.merge(more)
        for stage, spent in other.stages.items():
            self.stages[stage].merge(spent)
        for size, spent in other.batches.items():
            self.batches.setdefault(size, Duration()).merge(spent)
        self.last_at = max(self.last_at, other.last_at)

    def become(self, other: "VersionCounts") -> None:
        """Tell from now on what another process tells."""
        for one in fields(self):
            setattr(self, one.name, getattr(other, one.name))


@dataclass(slots=True, kw_only=True)
class VersionCounter:
    """Counts events, and passes them on. Fed by the event loop.

    Attributes:
        counts: what it adds to.
        observer: told of every event.
    """

    counts: VersionCounts
    observer: Observer

    def observe(self, event: Any) -> None:
        """Take note of `event`, and pass it on."""
        kind = type(event)
        if kind is FrameFinished:
            self._count(event)
        elif kind is BatchFinished:
            self.counts.batches.setdefault(event.size, Duration()).add(event.busy_s)
        self.observer.observe(event)

    def take(self) -> VersionCounts | None:
        """Give what has been counted since the last time, and count anew; None for nothing."""
        counts = self.counts
        if not (counts.success.count or counts.fail.count or counts.batches):
            return None
        self.counts = VersionCounts()
        return counts

    def _count(self, event: FrameFinished) -> None:
        counts, took_s = self.counts, sum(event.stages_s.values())
        if event.outcome is not Outcome.OK:
            if event.outcome is not Outcome.CANCELLED:
                counts.fail.add(took_s)
            return
        counts.last_at = time.time()
        counts.success.add(took_s)
        if event.source is Source.CACHED:
            counts.cached.add(took_s)
        for stage, seconds in event.stages_s.items():
            counts.stages[stage].add(seconds)
