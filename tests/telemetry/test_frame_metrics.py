"""What is counted by hand is what the library would count."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from nasfeat_server.telemetry.events import FrameFinished, FrameReceived, Outcome, Source, Stage
from nasfeat_server.telemetry.prometheus import PrometheusObserver
from nasfeat_server.telemetry.tally import Buckets, HistogramFamily, Tally

_BOUNDS = (0.0005, 0.25, 1, 30)


@given(st.lists(st.sampled_from((0.0, *_BOUNDS, 0.2500001, 31.0)) | st.floats(0, 1e6)))
def test_a_tally_shows_what_the_librarys_histogram_shows(values: list[float]) -> None:
    """The same values, those on a bound too: the same buckets under the same names, count and sum."""
    tally = Tally(Buckets(_BOUNDS, powers=(-3, 4)))
    histogram = Histogram("name", "Help.", buckets=_BOUNDS, registry=None)
    for value in values:
        tally.add(value)
        histogram.observe(value)
    shown = HistogramFamily("name", "Help.")
    tally.write(shown)
    [family] = histogram.collect()
    theirs = [(one.name, one.labels, one.value) for one in family.samples if not one.name.endswith("_created")]
    ours = shown.samples
    assert [(one.name, one.labels, one.value) for one in ours] == theirs


def test_images_are_counted_by_outcome_source_and_stage() -> None:
    """Three images come, two end: what a scrape shows of them, and of those yet in flight."""
    observer = PrometheusObserver()
    for _ in range(3):
        observer.observe(FrameReceived())
    stages_s = {Stage.RECEIVE: 0.001, Stage.EXECUTE: 0.3}
    observer.observe(FrameFinished(outcome=Outcome.OK, reason="", stages_s=stages_s, source=Source.SHARED))
    observer.observe(FrameFinished(outcome=Outcome.DROPPED, reason="Superseded", stages_s={Stage.RECEIVE: 0.002}))

    assert _sample(observer.registry, "nasfeat_frames_total", outcome="ok", reason="") == 1
    assert _sample(observer.registry, "nasfeat_frames_total", outcome="dropped", reason="Superseded") == 1
    assert _sample(observer.registry, "nasfeat_results_total", source="shared") == 1
    assert _sample(observer.registry, "nasfeat_results_total", source="computed") == 0
    assert _sample(observer.registry, "nasfeat_stage_seconds_sum", stage="receive") == 0.003
    assert _sample(observer.registry, "nasfeat_stage_seconds_bucket", stage="execute", le="0.25") == 0
    assert _sample(observer.registry, "nasfeat_stage_seconds_bucket", stage="execute", le="0.5") == 1
    assert _sample(observer.registry, "nasfeat_stage_seconds_count", stage="reply") == 0
    assert _sample(observer.registry, "nasfeat_in_flight_frames") == 1


def _sample(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)
