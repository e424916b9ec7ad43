"""What a scraper gets, in the format that it asked for."""

import io
from typing import Any

import pytest
from google.protobuf.proto import parse_length_prefixed
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from nasfeat_server.telemetry.events import BatchFinished, CallEnded, FrameFinished, Outcome, ReplicaReady, Stage
from nasfeat_server.telemetry.exposition import PROTOBUF_TYPE
from nasfeat_server.telemetry.metric_messages import MetricFamily
from nasfeat_server.telemetry.prometheus import PrometheusObserver

_PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
_OPENMETRICS = "application/openmetrics-text;version=1.0.0"
# What Prometheus sends with native histograms switched on: 2.42, and 3.
_OF_2 = f"{_PROTOBUF},{_OPENMETRICS};q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5,*/*;q=0.1"
_OF_3 = f"{_PROTOBUF};q=0.6,{_OPENMETRICS};escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"


def _observer() -> PrometheusObserver:
    """Give one that has seen something of most kinds of metrics."""
    observer = PrometheusObserver()
    observer.watch(
        devices=("cpu:0",),
        is_warm=lambda _: True,
        is_ready=lambda: True,
        capacity=lambda: 8,
        depth=lambda: 3,
        slots_in_use=lambda: 4,
        cache_bytes=lambda: 0,
    )
    for step in range(1, 100):
        stages_s = dict.fromkeys(Stage, step / 1000)
        observer.observe(FrameFinished(outcome=Outcome.OK, reason="", stages_s=stages_s, age_s=step / 100))
    observer.observe(FrameFinished(outcome=Outcome.INVALID, reason='odd "quotes" \\', stages_s={}))
    observer.observe(BatchFinished(device="cpu:0", size=3, limit=4, close_reason="full", busy_s=0.1))
    observer.observe(ReplicaReady(device="cpu:0", start_s=2.0, mean_cosine=0.999, min_cosine=0.99))
    observer.observe(CallEnded(method="other", code="OK", duration_s=0.1, sent_bytes=10, received_bytes=20))
    return observer


def _families(body: bytes) -> dict[str, Any]:
    stream, found = io.BytesIO(body), {}
    while (family := parse_length_prefixed(MetricFamily, stream)) is not None:
        found[family.name] = family
    return found


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4"),
        (_OPENMETRICS, "application/openmetrics-text; version=1.0.0"),
        (_OF_2, PROTOBUF_TYPE),
        (_OF_3, PROTOBUF_TYPE),
        (_PROTOBUF, PROTOBUF_TYPE),
        (f"{_PROTOBUF};q=0.1,{_OPENMETRICS};q=0.9", "application/openmetrics-text; version=1.0.0"),
        (f"{_PROTOBUF};q=0,text/plain", "text/plain; version=0.0.4"),
        (f"{_PROTOBUF};q=odd,text/plain", "text/plain; version=0.0.4"),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", "text/plain"),
        ("application/vnd.google.protobuf;proto=other;encoding=delimited", "text/plain"),
    ],
)
def test_a_scraper_gets_the_format_that_it_prefers(accept: str, content_type: str) -> None:
    """By its Accept header; text is what everybody understands."""
    _, told = _observer().exposition(accept)
    assert told.startswith(content_type)


def test_the_formats_tell_the_same() -> None:
    """Every sample of the messages is in both texts, and none more: same name, labels and value."""
    observer = _observer()
    ours = _from_messages(_families(observer.exposition(_PROTOBUF)[0]))
    text = observer.exposition("")[0].decode()
    openmetrics = observer.exposition(_OPENMETRICS)[0].decode()
    families = parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call]
    for told in (_from_text(parse_text(text)), _from_text(families)):
        assert ours.keys() == told.keys()
        # The process goes on between two scrapes.
        assert {key: value for key, value in ours.items() if not key[0].startswith(("process", "python"))} == {
            key: value for key, value in told.items() if not key[0].startswith(("process", "python"))
        }


def test_no_time_of_creation_is_told() -> None:
    """It would be one more series for each counter."""
    for accept in ("", _OPENMETRICS, _PROTOBUF):
        assert b"_created" not in _observer().exposition(accept)[0]


def test_histograms_are_native_too_in_the_messages() -> None:
    """Each of ours has its runs of exponential buckets, which hold every value; the fixed ones are beside them."""
    families = _families(_observer().exposition(_PROTOBUF)[0])
    native = {name for name, family in families.items() if family.metric and family.metric[0].histogram.schema}
    assert native >= {
        "nasfeat_stage_seconds",
        "nasfeat_result_age_seconds",
        "nasfeat_batch_size",
        "nasfeat_batch_fill_ratio",
        "nasfeat_stream_seconds",
        "grpc_server_call_duration_seconds",
    }
    ages = families["nasfeat_result_age_seconds"].metric[0].histogram
    assert sum(span.length for span in ages.positive_span) == len(ages.positive_delta)
    height = total = 0
    for delta in ages.positive_delta:
        height += delta
        total += height
    assert total == ages.sample_count == 99
    assert len(ages.bucket) == 14


def _from_messages(families: dict[str, Any]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for name, family in families.items():
        for series in family.metric:
            labels = frozenset((pair.name, pair.value) for pair in series.label)
            if series.HasField("histogram"):
                histogram = series.histogram
                found[f"{name}_count", labels] = float(histogram.sample_count)
                found[f"{name}_sum", labels] = histogram.sample_sum
                for bucket in histogram.bucket:
                    le = "+Inf" if bucket.upper_bound == float("inf") else str(bucket.upper_bound)
                    found[f"{name}_bucket", labels | {("le", le)}] = float(bucket.cumulative_count)
            else:
                [(_, value)] = [(field.name, value) for field, value in series.ListFields() if field.name != "label"]
                found[name, labels] = value.value
    return found


def _from_text(families: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    metrics: list[Metric] = list(families)
    return {
        (sample.name, frozenset((name, _bound(name, value)) for name, value in sample.labels.items())): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def _bound(name: str, value: str) -> str:
    return str(float(value)) if name == "le" and value != "+Inf" else value


def test_a_version_that_is_none_is_passed_over() -> None:
    """Whatever stands in the header: the plainest text is the answer, and not an error."""
    body, content_type = _observer().exposition("application/openmetrics-text;version=1.0x,text/plain;version=latest")
    assert content_type.startswith("text/plain")
    assert list(parse_text(body.decode()))
