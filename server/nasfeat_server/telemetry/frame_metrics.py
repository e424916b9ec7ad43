"""The metrics that every image touches: plain numbers, made into samples at each scrape.

A stage's histogram of the library costs two locks and a search for each value; with five stages, that was a twentieth
of what a raw frame costs the server.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nasfeat_server.telemetry.events import CacheAsked, FrameFinished, Outcome, Source, Stage
from nasfeat_server.telemetry.figures import FrameFigures
from nasfeat_server.telemetry.tally import Buckets, HistogramFamily, Tally

_STAGES = Buckets(
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30), powers=(-17, 10)
)
_AGES = Buckets((0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300), powers=(-10, 12))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCounts:
    """What one process has counted since it last told; plain values, to be sent to another one."""

    received: int
    finished: Counter[tuple[str, str, str]]
    sources: Counter[Source]
    stages: Mapping[Stage, tuple[list[int], float]]
    ages: tuple[list[int], float]
    cache_asked: Mapping[bool, int]

    @property
    def in_flight(self) -> int:
        """How many more images are under way than before."""
        return self.received - self.finished.total()


class FrameMetrics(Collector):
    """Counts images by how their life ended, and the time of their stages. To be fed by the event loop alone."""

    def __init__(self) -> None:
        """Start at zero."""
        self._received = 0
        self._finished: Counter[tuple[str, str, str]] = Counter()
        self._sources: Counter[Source] = Counter(dict.fromkeys(Source, 0))
        self._stages = {stage: Tally(_STAGES) for stage in Stage}
        self._ages = Tally(_AGES)
        self._cache_asked = {True: 0, False: 0}

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
        if event.age_s is not None:
            # The client's clock may be ahead of ours.
            self._ages.add(max(0.0, event.age_s))

    def cache_asked(self, event: CacheAsked) -> None:
        """Count a look into the cache of results."""
        self._cache_asked[event.hit] += 1

    def take(self) -> FrameCounts:
        """Give what was counted, and start at zero again."""
        counts = FrameCounts(
            received=self._received,
            finished=self._finished,
            sources=self._sources,
            stages={stage: tally.take() for stage, tally in self._stages.items()},
            ages=self._ages.take(),
            cache_asked=self._cache_asked,
        )
        self._received, self._finished, self._sources = 0, Counter(), Counter()
        self._cache_asked = {True: 0, False: 0}
        return counts

    def merge(self, counts: FrameCounts) -> None:
        """Count what another process has counted."""
        # In this order, since a scrape must not find more ended than came.
        self._received += counts.received
        self._finished.update(counts.finished)
        self._sources.update(counts.sources)
        for stage, taken in counts.stages.items():
            self._stages[stage].merge(*taken)
        self._ages.merge(*counts.ages)
        for hit, count in counts.cache_asked.items():
            self._cache_asked[hit] += count

    def figures(self) -> FrameFigures:
        """Give what was counted, but for the ages."""
        # In this order for the same reason as at a scrape.
        finished = self._finished.copy()
        received = self._received
        outcomes = Counter(dict.fromkeys(Outcome, 0))
        for (outcome, _, _), count in finished.items():
            outcomes[Outcome(outcome)] += count
        stages = {stage: tally.counts() for stage, tally in self._stages.items()}
        return FrameFigures(in_flight=received - outcomes.total(), outcomes=outcomes, stages=stages)

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        yield from self._collect_counts()
        stages = HistogramFamily("nasfeat_stage_seconds", "Time of an image in each stage.", ("stage",))
        for stage, tally in self._stages.items():
            tally.write(stages, (stage,))
        ages = HistogramFamily("nasfeat_result_age_seconds", "Time from an image's capture to its answer.")
        self._ages.write(ages)
        asked = CounterMetricFamily(
            "nasfeat_cache_lookups", "Images looked up in the cache of results.", labels=("result",)
        )
        for hit, count in self._cache_asked.items():
            asked.add_metric(("hit" if hit else "miss",), count)
        yield from (stages, ages, asked)

    def _collect_counts(self) -> Iterator[Metric]:
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
        yield from (frames, models, sources)
        yield GaugeMetricFamily("nasfeat_in_flight_frames", "Images received, not yet answered.", value=in_flight)
