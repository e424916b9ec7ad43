"""A real Prometheus reads the metrics in each of their formats, and answers from native histograms."""

import functools
from pathlib import Path

import pytest

from nasfeat_server.telemetry.events import BatchFinished, CallEnded, FrameFinished, FrameReceived, Outcome, Stage
from nasfeat_server.telemetry.prometheus import PrometheusObserver
from prometheus_server import exposing, scraping

pytestmark = pytest.mark.timeout(60)

_ACCEPTS = {
    "text": "text/plain;version=0.0.4",
    "openmetrics": "application/openmetrics-text;version=1.0.0",
    "protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
}
# A native bucket is 2 ** (1 / 8) wide.
_WIDTH = 0.0906


def _loaded() -> PrometheusObserver:
    """Give an observer of a hundred images, 1 to 100 ms in each stage, and results 0.3 to 30 s old."""
    observer = PrometheusObserver()
    for step in range(1, 101):
        observer.observe(FrameReceived())
        stages_s = dict.fromkeys(Stage, step / 1000)
        observer.observe(FrameFinished(outcome=Outcome.OK, reason="", stages_s=stages_s, age_s=0.3 * step))
        observer.observe(
            BatchFinished(device="cpu:0", size=4 if step > 50 else 2, limit=4, close_reason="full", busy_s=0.1)
        )
        ended = CallEnded(method="other", code="OK", duration_s=step / 1000, sent_bytes=step, received_bytes=step)
        observer.observe(ended)
    return observer


@pytest.mark.parametrize("native", [True, False])
async def test_every_format_is_read(tmp_path: Path, native: bool) -> None:
    """Targets that answer in one format each, and one that is asked: all are up and have the same counters.

    Without native histograms Prometheus neither asks for its own messages nor takes them.
    """
    observer = _loaded()
    told: list[str] = []

    def asked(accept: str) -> tuple[bytes, str]:
        body, content_type = observer.exposition(accept)
        told.append(content_type)
        return body, content_type

    pinned = {name: functools.partial(_pinned, observer, accept) for name, accept in _ACCEPTS.items()}
    if not native:
        del pinned["protobuf"]
    jobs = {name: f"/{name}" for name in ("asked", *pinned)}
    with exposing({"asked": asked, **pinned}) as target:
        async with scraping(target, jobs, tmp_path, native=native) as prometheus:
            for job in jobs:
                assert await prometheus.value(f'nasfeat_frames_total{{job="{job}"}}') == 100
                assert await prometheus.value(f'up{{job="{job}"}}') == 1
                assert await prometheus.value(f'count({{job="{job}",__name__=~"nasfeat_build_info"}})') == 1
    assert ("protobuf" in told[0]) is native
    assert ("openmetrics" in told[0]) is not native


async def test_quantiles_are_answered_from_native_histograms(tmp_path: Path) -> None:
    """With one series each where fixed buckets need dozens, and off by no more than the width of a native bucket."""
    observer = _loaded()
    with exposing({"metrics": observer.exposition}) as target:
        async with scraping(target, {"nasfeat": "/metrics"}, tmp_path, native=True) as prometheus:
            for series, expected in (
                ('nasfeat_stage_seconds{stage="execute"}', 0.050),
                ("nasfeat_result_age_seconds", 15.0),
                ('nasfeat_batch_size{device="cpu:0"}', 2.0),
                ('nasfeat_batch_fill_ratio{device="cpu:0"}', 0.5),
                ('grpc_server_call_duration_seconds{grpc_method="other"}', 0.050),
                ('grpc_server_call_sent_total_compressed_message_size_bytes{grpc_method="other"}', 50.0),
            ):
                median = await prometheus.value(f"histogram_quantile(0.5, {series})")
                assert median == pytest.approx(expected, rel=_WIDTH), series
                assert await prometheus.value(f"histogram_count({series})") == 100
            assert await prometheus.value('histogram_quantile(0.99, nasfeat_stage_seconds{stage="queue"})') == (
                pytest.approx(0.099, rel=_WIDTH)
            )
            assert await prometheus.value("histogram_sum(nasfeat_result_age_seconds)") == pytest.approx(0.3 * 5050)


async def test_quantiles_are_answered_from_fixed_buckets_without_native_histograms(tmp_path: Path) -> None:
    """A Prometheus that does not ask for native histograms has the buckets, as ever."""
    observer = _loaded()
    with exposing({"metrics": observer.exposition}) as target:
        async with scraping(target, {"nasfeat": "/metrics"}, tmp_path, native=False) as prometheus:
            median = await prometheus.value('histogram_quantile(0.5, nasfeat_stage_seconds_bucket{stage="execute"})')
            assert 0.025 <= median <= 0.05
            assert await prometheus.value('nasfeat_stage_seconds_count{stage="execute"}') == 100


def _pinned(observer: PrometheusObserver, accept: str, _: str) -> tuple[bytes, str]:
    return observer.exposition(accept)
