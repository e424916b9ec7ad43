"""What one version of the model has done since it was loaded: the events of its images and batches, counted."""

import time
from dataclasses import dataclass, field
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


def _durations() -> dict[Stage, Duration]:
    return {stage: Duration() for stage in Stage}


@dataclass(slots=True, kw_only=True)
class VersionCounts:
    """Counts, and passes events on. Fed by the event loop.

    Attributes:
        observer: told of every event.
        success: images that got their outputs.
        fail: those that did not, but for those that nobody waited for any more.
        cached: those of `success` whose results were kept from before.
        stages: time of images with outputs in each stage.
        batches: batches by their size, and the time of a device.
        last_at: when an image last got its outputs, in seconds since 1970; 0 for never.
    """

    observer: Observer
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    cached: Duration = field(default_factory=Duration)
    stages: dict[Stage, Duration] = field(default_factory=_durations)
    batches: dict[int, Duration] = field(default_factory=dict)
    last_at: float = 0.0

    def observe(self, event: Any) -> None:
        """Take note of `event`, and pass it on."""
        kind = type(event)
        if kind is FrameFinished:
            self._count(event)
        elif kind is BatchFinished:
            self.batches.setdefault(event.size, Duration()).add(event.busy_s)
        self.observer.observe(event)

    def _count(self, event: FrameFinished) -> None:
        took_s = sum(event.stages_s.values())
        if event.outcome is not Outcome.OK:
            if event.outcome is not Outcome.CANCELLED:
                self.fail.add(took_s)
            return
        self.last_at = time.time()
        self.success.add(took_s)
        if event.source is Source.CACHED:
            self.cached.add(took_s)
        for stage, seconds in event.stages_s.items():
            self.stages[stage].add(seconds)
