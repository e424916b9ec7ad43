"""What a scraper gets: text, OpenMetrics or, with native histograms, Prometheus' own messages, as it asks for."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.proto import serialize_length_prefixed
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from nasfeat_server.telemetry import metric_messages
from nasfeat_server.telemetry.tally import SCHEMA, HistogramFamily, Native

_PROTOBUF = "application/vnd.google.protobuf"
_TEXTS = ("application/openmetrics-text", "text/plain")
PROTOBUF_TYPE = f"{_PROTOBUF}; proto=io.prometheus.client.MetricFamily; encoding=delimited"

_SIMPLE = {
    "counter": ("counter", metric_messages.COUNTER, "_total"),
    "gauge": ("gauge", metric_messages.GAUGE, ""),
    "info": ("gauge", metric_messages.GAUGE, "_info"),
    "unknown": ("untyped", metric_messages.UNTYPED, ""),
}


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Read every metric; files and drivers are read for some, so not to be called on the event loop.

    Args:
        registry: the metrics.
        accept: the scraper's header of that name; "" for none.

    Returns:
        The metrics, and their Content-Type.
    """
    shown = _Shown(registry)
    if _prefers_protobuf(accept):
        return _messages(shown.collect()), PROTOBUF_TYPE
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:
        # It cannot compare a version that is not of numbers.
        encode, content_type = choose_encoder("")
    return encode(shown), content_type


class _Shown(Collector):
    """A registry without the times at which series began: one more for each counter, which nobody asks for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            created = metric.name + "_created"
            metric.samples = [sample for sample in metric.samples if sample.name != created]
            yield metric


def _prefers_protobuf(accept: str) -> bool:
    """Whether `accept` ranks the messages above every text; of equals the first counts."""
    best, best_quality = "", 0.0
    for item in accept.split(","):
        media, *rest = (part.strip() for part in item.split(";"))
        parameters = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in rest)}
        is_ours = (
            media == _PROTOBUF
            and parameters.get("proto") == "io.prometheus.client.MetricFamily"
            and parameters.get("encoding") == "delimited"
        )
        quality = _quality(parameters.get("q", "1"))
        if (is_ours or media in _TEXTS) and quality > best_quality:
            best, best_quality = media, quality
    return best == _PROTOBUF


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _messages(metrics: Iterable[Metric]) -> bytes:
    output = io.BytesIO()
    for metric in metrics:
        serialize_length_prefixed(_message(metric), output)
    return output.getvalue()


def _message(metric: Metric) -> Any:
    if metric.type == "histogram":
        message = metric_messages.MetricFamily(
            name=metric.name, help=metric.documentation, type=metric_messages.HISTOGRAM
        )
        _write_histograms(message, metric)
        return message
    field, kind, suffix = _SIMPLE[metric.type]
    message = metric_messages.MetricFamily(name=metric.name + suffix, help=metric.documentation, type=kind)
    for sample in metric.samples:
        series = message.metric.add()
        _write_labels(series, sample.labels)
        getattr(series, field).value = sample.value
    return message


def _write_labels(series: Any, labels: dict[str, str]) -> None:
    for name, value in labels.items():
        series.label.add(name=name, value=value)


def _write_histograms(message: Any, metric: Metric) -> None:
    found: dict[tuple[str, ...], Any] = {}
    for sample in metric.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        key = tuple(labels.values())
        if key not in found:
            series = message.metric.add()
            _write_labels(series, labels)
            found[key] = series.histogram
            if isinstance(metric, HistogramFamily):
                _write_native(series.histogram, metric.natives[key])
        _write_part(found[key], metric.name, sample)


def _write_part(histogram: Any, name: str, sample: Sample) -> None:
    if sample.name == f"{name}_bucket":
        histogram.bucket.add(cumulative_count=int(sample.value), upper_bound=float(sample.labels["le"]))
    elif sample.name == f"{name}_count":
        histogram.sample_count = int(sample.value)
    else:
        histogram.sample_sum = sample.value


def _write_native(histogram: Any, native: Native) -> None:
    histogram.schema = SCHEMA
    histogram.zero_threshold = native.zero_threshold
    histogram.zero_count = native.zero_count
    for offset, length in native.spans:
        histogram.positive_span.add(offset=offset, length=length)
    histogram.positive_delta.extend(native.deltas)
