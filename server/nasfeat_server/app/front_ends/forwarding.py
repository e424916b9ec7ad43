"""What a front end's process tells the one that has the metrics: counts of images, and other events as they are."""

import dataclasses
import pickle
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args

from nasfeat_server.telemetry import events
from nasfeat_server.telemetry.fanout import Fanout
from nasfeat_server.telemetry.frame_metrics import FrameCounts, FrameMetrics
from nasfeat_server.telemetry.prometheus import PrometheusObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """All that happened since the last time."""

    frames: FrameCounts | None
    others: tuple[events.Event, ...]


class Forwarder:
    """The observer of a front end. What every image touches is counted here, as in one process."""

    wanted = frozenset(get_args(events.Event))

    def __init__(self) -> None:
        """Start with nothing to tell."""
        self._frames = FrameMetrics()
        self._others: list[events.Event] = []
        self._counted = False
        counting: Any = {
            events.FrameReceived: lambda _: self._frames.received(),
            events.FrameFinished: self._frames.finished,
            events.CacheAsked: self._frames.cache_asked,
            events.CallEnded: self._traced,
            events.Refused: self._traced,
        }
        self._observing = {kind: counting.get(kind, self._others.append) for kind in self.wanted}

    def observe(self, event: events.Event) -> None:
        """Take note of `event`."""
        self._counted = True
        self._observing[type(event)](event)

    def _traced(self, event: events.CallEnded | events.Refused) -> None:
        # A span stays in the process that has begun it; its name is for the log.
        if traced := event.traced:
            event = dataclasses.replace(event, traced=dataclasses.replace(traced, span=None))
        self._others.append(event)

    def take(self) -> bytes | None:
        """Give what is to be told, for `Heard.tell`; None if nothing happened since the last time."""
        if not self._counted:
            return None
        told = _Told(frames=self._frames.take(), others=tuple(self._others))
        self._others.clear()
        self._counted = False
        return pickle.dumps(told)


@dataclass(slots=True)
class Heard:
    """What has been heard of one front end, of which a process that dies cannot tell the end.

    Attributes:
        metrics: count images.
        observer: is told everything else.
    """

    metrics: PrometheusObserver
    observer: Fanout
    _in_flight: int = 0
    _streams: Counter[str] = field(default_factory=Counter)

    def tell(self, told: bytes) -> None:
        """Take what a `Forwarder` gave."""
        # From the same program, over a socket that nobody else has.
        news: _Told = pickle.loads(told)  # noqa: S301
        if news.frames:
            self._in_flight += news.frames.in_flight
            self.metrics.merge(news.frames)
        for event in news.others:
            if isinstance(event, events.StreamOpened):
                self._streams[event.overload] += 1
            elif isinstance(event, events.StreamClosed):
                self._streams[event.overload] -= 1
            self.observer.observe(event)

    def lost(self) -> None:
        """End what the front end had under way: its clients have lost their connections."""
        for _ in range(self._in_flight):
            self.observer.observe(events.FrameFinished(outcome=events.Outcome.CANCELLED, reason="", stages_s={}))
        for overload in self._streams.elements():
            self.observer.observe(events.StreamClosed(overload=overload, duration_s=0.0))
        self._in_flight = 0
        self._streams.clear()
