"""The metrics of tracing itself: what became of the spans, and what was not traced."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from nasfeat_server.telemetry.sampling import Sampler
from nasfeat_server.telemetry.tracing_export import Export


class TracingMetrics(Collector):
    """Reads what `sampler` and `export` count."""

    def __init__(self, sampler: Sampler, export: Export) -> None:
        """Read nothing yet."""
        self._sampler = sampler
        self._export = export

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        yield CounterMetricFamily(
            "nasfeat_trace_limited",
            "Calls and images that were not traced because of the limit alone.",
            value=self._sampler.limited,
        )
        spans = CounterMetricFamily(
            "nasfeat_trace_spans", "Spans by whether the collector has them.", labels=("outcome",)
        )
        counts = {"sent": self._export.sent, "failed": self._export.failed, "overflow": self._export.overflowed}
        for outcome, count in counts.items():
            spans.add_metric((outcome,), count)
        yield spans
