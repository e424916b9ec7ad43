"""The metrics of tracing itself: what became of the spans, and what was not traced."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from nasfeat_server.telemetry.traces import TraceCounts


class TracingMetrics(Collector):
    """Makes samples of what `read` gives; it is called by the thread of the scrape."""

    def __init__(self, read: Callable[[], TraceCounts]) -> None:
        """Read nothing yet."""
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        told = self._read()
        yield CounterMetricFamily(
            "nasfeat_trace_limited",
            "Calls and images that were not traced because of the limit alone.",
            value=told.limited,
        )
        spans = CounterMetricFamily(
            "nasfeat_trace_spans", "Spans by whether the collector has them.", labels=("outcome",)
        )
        counts = {"sent": told.sent, "failed": told.failed, "overflow": told.overflowed}
        for outcome, count in counts.items():
            spans.add_metric((outcome,), count)
        yield spans
