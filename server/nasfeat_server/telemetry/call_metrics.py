"""The metrics of calls and streams: our own, and those whose names gRPC gives to every server of its kind.

gRPC's are described at https://github.com/grpc/proposal/blob/master/A66-otel-stats.md; their names here are those that
OpenTelemetry's exporter makes of them for Prometheus.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nasfeat_server.telemetry.events import CallEnded, CallStarted, RequestFinished, StreamClosed, StreamOpened
from nasfeat_server.telemetry.tally import Buckets, HistogramFamily, Tally

_STREAM_SECONDS = Buckets((1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600), powers=(-10, 20))
_CALL_SECONDS = Buckets(
    (
        *(0.0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008),
        *(0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4),
        *(0.5, 0.65, 0.8, 1, 2, 5, 10, 20, 50, 100),
    ),
    powers=(-17, 20),
)
_CALL_BYTES = Buckets(
    (0, *(2**power for power in (10, 11, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32))), powers=(0, 44)
)
_OVERLOADS = ("block", "drop_oldest", "latest_only", "reject")


class CallMetrics(Collector):
    """Counts calls by method and status, and streams by what they want done under overload."""

    def __init__(self) -> None:
        """Start at zero."""
        self._requests: Counter[tuple[str, str]] = Counter()
        self._streams: Counter[str] = Counter(dict.fromkeys(_OVERLOADS, 0))
        self._stream_seconds = Tally(_STREAM_SECONDS)
        self._started: Counter[str] = Counter()
        self._ended: dict[tuple[str, str], _Ended] = {}

    def request_finished(self, event: RequestFinished) -> None:
        """Count a call by the name of its method alone."""
        self._requests[event.method, event.code] += 1

    def stream_opened(self, event: StreamOpened) -> None:
        """Count a stream for as long as it is open."""
        self._streams[event.overload] += 1

    def stream_closed(self, event: StreamClosed) -> None:
        """Count how long a stream was open."""
        self._streams[event.overload] -= 1
        self._stream_seconds.add(event.duration_s)

    def call_started(self, event: CallStarted) -> None:
        """Count a call of any service."""
        self._started[event.method] += 1

    def call_ended(self, event: CallEnded) -> None:
        """Count how long a call took, and what went through it."""
        labels = (event.method, event.code)
        if labels not in self._ended:
            self._ended[labels] = _Ended()
        ended = self._ended[labels]
        ended.seconds.add(event.duration_s)
        ended.sent.add(event.sent_bytes)
        ended.received.add(event.received_bytes)

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        requests = CounterMetricFamily(
            "nasfeat_requests",
            "Calls that have to do with images or models, by method and gRPC status.",
            labels=("method", "code"),
        )
        for labels, count in self._requests.copy().items():
            requests.add_metric(labels, count)
        streams = GaugeMetricFamily(
            "nasfeat_streams", "Open streams by what becomes of their frames under overload.", labels=("overload",)
        )
        for overload, count in self._streams.copy().items():
            streams.add_metric((overload,), count)
        lengths = HistogramFamily("nasfeat_stream_seconds", "Length of ended streams.")
        self._stream_seconds.write(lengths)
        yield from (requests, streams, lengths)
        yield from self._collect_grpc()

    def _collect_grpc(self) -> Iterator[Metric]:
        started = CounterMetricFamily(
            "grpc_server_call_started", "Calls of any service that have begun.", labels=("grpc_method",)
        )
        for method, count in self._started.copy().items():
            started.add_metric((method,), count)
        by = ("grpc_method", "grpc_status")
        seconds = HistogramFamily("grpc_server_call_duration_seconds", "Time from a call's arrival to its end.", by)
        sent = HistogramFamily(
            "grpc_server_call_sent_total_compressed_message_size_bytes",
            "Size of all messages sent in a call, before compression.",
            by,
        )
        received = HistogramFamily(
            "grpc_server_call_rcvd_total_compressed_message_size_bytes",
            "Size of all messages received in a call, after decompression.",
            by,
        )
        for labels, ended in self._ended.copy().items():
            ended.seconds.write(seconds, labels)
            ended.sent.write(sent, labels)
            ended.received.write(received, labels)
        yield from (started, seconds, sent, received)


class _Ended:
    """The calls of one method that ended in one status."""

    def __init__(self) -> None:
        self.seconds = Tally(_CALL_SECONDS)
        self.sent = Tally(_CALL_BYTES)
        self.received = Tally(_CALL_BYTES)
