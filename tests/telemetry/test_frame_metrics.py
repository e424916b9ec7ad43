"""Images as a scrape shows them: how they ended, how long they took, how old their results were."""

from prometheus_client import CollectorRegistry

from nasfeat_server.telemetry.events import CacheAsked, FrameFinished, FrameReceived, Outcome, Source, Stage
from nasfeat_server.telemetry.prometheus import PrometheusObserver


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


def test_ages_are_counted_where_the_capture_is_known_and_clocks_apart_count_as_zero() -> None:
    """Of three images one has no capture time; one comes from a clock that is ahead of ours."""
    observer = PrometheusObserver()
    for age_s in (None, -3.0, 0.2):
        observer.observe(FrameFinished(outcome=Outcome.OK, reason="", stages_s={}, age_s=age_s))
    assert _sample(observer.registry, "nasfeat_result_age_seconds_count") == 2
    assert _sample(observer.registry, "nasfeat_result_age_seconds_sum") == 0.2
    assert _sample(observer.registry, "nasfeat_result_age_seconds_bucket", le="0.01") == 1


def test_looks_into_the_cache_are_counted() -> None:
    """Two hits and a miss."""
    observer = PrometheusObserver()
    for hit in (True, False, True):
        observer.observe(CacheAsked(hit=hit))
    assert _sample(observer.registry, "nasfeat_cache_lookups_total", result="hit") == 2
    assert _sample(observer.registry, "nasfeat_cache_lookups_total", result="miss") == 1


def _sample(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)
