"""Where spans go: to a collector, by a thread of its own, from a queue with an end."""

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib.metadata import version

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from nasfeat_server.telemetry.rejections import Pauses

_log = logging.getLogger(__name__)
_library = logging.getLogger("opentelemetry")

# Spans that wait for the collector: a kilobyte or so each.
_QUEUE = 8192
_BATCH = 512
_PERIOD_S = 1.0
# For one batch, with all tries.
_TIMEOUT_S = 5
_PAUSE_S = 60.0


class Export:
    """The way of spans to a collector.

    Attributes:
        sent: spans that the collector has taken.
        failed: spans that it has not.
        overflowed: spans for which there was no place in the queue.
    """

    def __init__(self, endpoint: str, *, queue: int = _QUEUE) -> None:
        """Keep where the collector is, and how many spans may wait for it."""
        self.sent = 0
        self.failed = 0
        self.overflowed = 0
        self._endpoint = endpoint
        self._queue = queue

    @contextlib.asynccontextmanager
    async def running(self, flush_s: float) -> AsyncIterator[api.Tracer]:
        """Make a tracer and send its spans; when the context ends, those that are left have `flush_s` for it."""
        exporter = OTLPSpanExporter(self._endpoint, timeout=_TIMEOUT_S)
        processor = _Queue(self, exporter, self._queue)
        # What there is to be decided is decided before.
        provider = TracerProvider(sampler=ALWAYS_ON, resource=_resource(), shutdown_on_exit=False)
        provider.add_span_processor(processor)
        with _complaints(self._endpoint):
            try:
                yield provider.get_tracer("nasfeat", version("nasfeat"))
            finally:
                # An exporter that is shut down gives up what it is busy with and takes nothing more.
                late = threading.Timer(flush_s, exporter.shutdown)
                late.start()
                await asyncio.to_thread(provider.shutdown)
                late.cancel()


class _Counting(SpanExporter):
    """Passes spans on, and counts what becomes of them. Runs on the exporting thread."""

    def __init__(self, counts: Export, exporter: SpanExporter) -> None:
        self.taken = 0
        self._counts = counts
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._counts.sent += len(spans)
        else:
            self._counts.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Queue(BatchSpanProcessor):
    """Gives a span up where the library would push another one out of the queue without counting it."""

    def __init__(self, counts: Export, exporter: SpanExporter, size: int) -> None:
        self._counts = counts
        self._size = size
        self._passed = 0
        self._counting = _Counting(counts, exporter)
        super().__init__(
            self._counting,
            max_queue_size=size,
            schedule_delay_millis=_PERIOD_S * 1000,
            max_export_batch_size=min(size, _BATCH),
        )

    def on_end(self, span: ReadableSpan) -> None:
        if self._passed - self._counting.taken >= self._size:
            self._counts.overflowed += 1
            return
        self._passed += 1
        super().on_end(span)


class _Complaints(logging.Handler):
    """Turns what a part of the library complains of, at every try, into a line a minute."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(logging.WARNING)
        self._endpoint = endpoint
        self._pauses = Pauses(_PAUSE_S)

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record` as ours, or count it."""
        held_back = self._pauses.pass_through((record.name,), time.monotonic())
        if held_back is not None:
            others = f" (and {held_back} more complaints before)" if held_back else ""
            _log.warning("tracing to %s: %s%s", self._endpoint, record.getMessage(), others)


@contextlib.contextmanager
def _complaints(endpoint: str) -> Iterator[None]:
    handler, propagated = _Complaints(endpoint), _library.propagate
    _library.addHandler(handler)
    _library.propagate = False
    try:
        yield
    finally:
        _library.propagate = propagated
        _library.removeHandler(handler)


def _resource() -> Resource:
    return Resource.create(
        {
            "service.name": "nasfeat",
            "service.version": version("nasfeat"),
            "service.instance.id": str(uuid.uuid4()),
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
    )
