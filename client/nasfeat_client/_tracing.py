"""Spans of calls, streams and frames, with OpenTelemetry's API: what becomes of them is for the program to set up."""

import contextlib
from collections.abc import Iterator
from importlib.metadata import version

import grpc
import grpc.aio
from opentelemetry import context as contexts
from opentelemetry import trace as api
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nasfeat.v1.feature_service_pb2 import StreamFeaturesRequest
from nasfeat_client._open_stream import SentFrame
from nasfeat_client.errors import NasfeatError
from nasfeat_client.images import Frame
from nasfeat_client.result import Result

_SERVICE = "nasfeat.v1.FeatureService"
_STATUS = "rpc.response.status_code"
_W3C = TraceContextTextMapPropagator()


class Tracing:
    """Traces one client, with whatever tracer provider the program has set when spans begin."""

    def __init__(self) -> None:
        self._tracer = api.get_tracer("nasfeat_client", version("nasfeat"))

    @contextlib.contextmanager
    def call(self, method: str) -> Iterator[tuple[tuple[str, str], ...]]:
        """Trace a call for as long as the context lasts; gives the metadata that tell the server."""
        with self._tracer.start_as_current_span(
            f"{_SERVICE}/{method}", kind=api.SpanKind.CLIENT, attributes=_attributes(method)
        ) as span:
            try:
                yield tuple(_injected(span).items())
            except NasfeatError as error:
                span.set_attribute("error.type", type(error).__name__)
                if isinstance(error.__cause__, grpc.aio.AioRpcError):
                    span.set_attribute(_STATUS, error.__cause__.code().name)
                raise
            span.set_attribute(_STATUS, grpc.StatusCode.OK.name)

    def stream(self) -> "StreamSpan":
        """Begin to trace a call that is a stream."""
        method = "StreamFeatures"
        return StreamSpan(
            self._tracer.start_span(f"{_SERVICE}/{method}", kind=api.SpanKind.CLIENT, attributes=_attributes(method))
        )

    def frames(self) -> "FrameSpans":
        """Trace the frames of a stream, over all its calls."""
        return FrameSpans(self._tracer)


class StreamSpan:
    """The span of one call that is a stream."""

    def __init__(self, span: api.Span) -> None:
        self._span = span

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What tells the server."""
        return tuple(_injected(self._span).items())

    def failed(self, error: BaseException) -> None:
        """End it with why the stream was not granted."""
        self._span.set_attribute("error.type", type(error).__name__)
        self._span.set_status(api.StatusCode.ERROR, str(error))
        self._span.end()

    def end(self, _: object) -> None:
        """End it with its call."""
        self._span.end()


class FrameSpans:
    """The spans of the frames of one stream that have no result yet.

    Each belongs where the program was when it sent the frame, or began to iterate: not to the stream's calls, which may
    live for days.
    """

    def __init__(self, tracer: api.Tracer) -> None:
        self._tracer = tracer
        self._under_way: dict[int, api.Span] = {}

    def begin(self, frame: Frame, request: StreamFeaturesRequest, stream_id: str) -> None:
        """Begin the span of a frame that is about to be sent, and tell the server in its message if it is sampled."""
        context = frame.context.run(contexts.get_current) if isinstance(frame, SentFrame) else None
        attributes = {"nasfeat.frame.id": str(request.frame.frame_id), "nasfeat.stream.id": stream_id}
        span = self._tracer.start_span("frame", context, kind=api.SpanKind.CLIENT, attributes=attributes)
        if span.get_span_context().trace_flags.sampled:
            request.frame.traceparent = _injected(span)["traceparent"]
            self._under_way[request.frame.frame_id] = span

    def end(self, result: Result) -> None:
        """End the span of a frame whose result has come."""
        span = self._under_way.pop(result.frame_id, None)
        if not span:
            return
        if result.error:
            span.set_attribute("error.type", result.error.reason.name)
            span.set_status(api.StatusCode.ERROR, result.error.message)
        elif result.dropped:
            span.set_attribute("nasfeat.dropped", result.dropped.name)
        span.end()

    def close(self) -> None:
        """End the spans of frames whose results nobody waits for any more."""
        for span in self._under_way.values():
            span.end()
        self._under_way.clear()


def _attributes(method: str) -> dict[str, str]:
    return {"rpc.system.name": "grpc", "rpc.method": f"{_SERVICE}/{method}"}


def _injected(span: api.Span) -> dict[str, str]:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, api.set_span_in_context(span))
    return carrier
