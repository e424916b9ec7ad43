"""The metrics that every image touches: plain numbers, made into samples at each scrape.

A stage's histogram of the library costs two locks and a search for each value; with five stages, that was a twentieth
of what a raw frame costs the server.
"""

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from nasfeat_server.telemetry.events import FrameFinished, Source, Stage

_STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Tally:
    """A histogram that one thread counts into; others may read it, a value late."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Start at zero, with buckets up to each of `bounds`, ascending, and one for all that is larger."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count `value`."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> tuple[list[tuple[str, float]], float]:
        """Give what a histogram shows: how many values are at most each bound, as text, and the sum of all."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, itertools.accumulate(self._counts), strict=True)), self._sum


class FrameMetrics(Collector):
    """Counts images by how their life ended, and the time of their stages. To be fed by the event loop alone."""

    def __init__(self) -> None:
        """Start at zero."""
        self._received = 0
        self._finished: Counter[tuple[str, str, str]] = Counter()
        self._sources: Counter[Source] = Counter(dict.fromkeys(Source, 0))
        self._stages = {stage: Tally(_STAGE_BUCKETS_S) for stage in Stage}

    def received(self) -> None:
        """Count an image that has arrived."""
        self._received += 1

    def finished(self, event: FrameFinished) -> None:
        """Count an image whose life has ended."""
        self._finished[event.outcome, event.reason, event.label] += 1
        if event.source:
            self._sources[event.source] += 1
        for stage, seconds in event.stages_s.items():
            self._stages[stage].add(seconds)

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        # One call that no other thread comes between, before what was received: never more ended than came.
        finished = self._finished.copy()
        in_flight = self._received - finished.total()
        frames = CounterMetricFamily(
            "nasfeat_frames", "Images by the outcome of their life.", labels=("outcome", "reason")
        )
        models = CounterMetricFamily(
            "nasfeat_model_frames",
            "Images by the version of the model that had them, as its label was then.",
            labels=("label", "outcome"),
        )
        by_reason: Counter[tuple[str, str]] = Counter()
        by_label: Counter[tuple[str, str]] = Counter()
        for (outcome, reason, label), count in finished.items():
            by_reason[outcome, reason] += count
            by_label[label, outcome] += count
        for labels, count in by_reason.items():
            frames.add_metric(labels, count)
        for labels, count in by_label.items():
            models.add_metric(labels, count)
        sources = CounterMetricFamily(
            "nasfeat_results",
            "Images with features, by whether a device worked for this one or for the same one before.",
            labels=("source",),
        )
        for source, count in self._sources.items():
            sources.add_metric((source,), count)
        stages = HistogramMetricFamily("nasfeat_stage_seconds", "Time of an image in each stage.", labels=("stage",))
        for stage, tally in self._stages.items():
            stages.add_metric((stage,), *tally.samples())
        yield from (frames, models, sources, stages)
        yield GaugeMetricFamily("nasfeat_in_flight_frames", "Images received, not yet answered.", value=in_flight)
