"""Spans of calls, of images and of their stages, made with OpenTelemetry.

A call of one message is a trace with its images in it. A stream may last for days: each of its images that is traced is
in the trace that its client names, or begins one of its own with a link to the call.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nasfeat_server.config import TracingConfig
from nasfeat_server.telemetry.events import CallEnded, FrameFinished
from nasfeat_server.telemetry.sampling import Sampler
from nasfeat_server.telemetry.traces import Metadata, TraceCounts, Traced
from nasfeat_server.telemetry.tracing_export import Export
from nasfeat_server.telemetry.tracing_spans import begin, end_call, end_image, span_of

# https://www.w3.org/TR/trace-context says 55 characters for now, and of the state that 512 are to be taken.
_LONGEST = 512
_STREAMS = "/StreamFeatures"
_NOWHERE = Context()
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """The `Tracer` that says what is traced, and the observer that makes spans of it when it has ended."""

    wanted = frozenset({CallEnded, FrameFinished})

    def __init__(self, config: TracingConfig) -> None:
        """Keep the configuration; nothing is traced before `exporting`."""
        self._sampler = Sampler(ratio=config.ratio, limit=config.limit)
        self._export = Export(config.endpoint or "")
        self._spans: api.Tracer = api.NoOpTracer()

    def counts(self) -> TraceCounts:
        """Tell what became of the spans, and what was not traced."""
        export = self._export
        return TraceCounts(
            limited=self._sampler.limited, sent=export.sent, failed=export.failed, overflowed=export.overflowed
        )

    @contextlib.asynccontextmanager
    async def exporting(self, flush_s: float) -> AsyncIterator[None]:
        """Send spans for as long as the context lasts; those that are left then have `flush_s`."""
        async with self._export.running(flush_s) as self._spans:
            yield

    def call(self, method: str, metadata: Metadata) -> "_Call":
        """Decide on a call that begins, as `Tracer` says."""
        client, traced = _remote(metadata), None
        if self._sampler.takes(client.sampled if client else None):
            traced = begin(
                self._spans,
                method,
                time.monotonic(),
                parent=client.context if client else _NOWHERE,
                kind=api.SpanKind.SERVER,
                attributes={"rpc.system.name": "grpc", "rpc.method": method},
            )
        return _Call(
            traced=traced,
            client=client,
            is_stream=method.endswith(_STREAMS),
            sampler=self._sampler,
            spans=self._spans,
        )

    def observe(self, event: CallEnded | FrameFinished) -> None:
        """End the spans of what has ended, if it was traced."""
        if isinstance(event, CallEnded):
            if event.traced:
                end_call(event.traced, event)
        elif event.trace:
            end_image(event, event.trace, self._spans)


class _Client(NamedTuple):
    """What a client says: where its span is, and whether it wants to see more."""

    context: Context
    sampled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call: its own span, if it has one, and what its images are decided by."""

    traced: Traced | None
    client: _Client | None
    is_stream: bool
    sampler: Sampler
    spans: api.Tracer

    def image(self, traceparent: str, arrived_at: float) -> Traced | None:
        """Decide on an image, as `CallTrace` says."""
        decided: bool | None
        own = _remote((("traceparent", traceparent),)) if traceparent else None
        if own:
            decided, parent, kind = own.sampled, own.context, api.SpanKind.SERVER
        elif not self.is_stream:
            decided, parent, kind = self.traced is not None, self._inside, api.SpanKind.INTERNAL
        else:
            refused = self.client is not None and not self.client.sampled
            decided, parent, kind = False if refused else None, _NOWHERE, api.SpanKind.SERVER
        if not self.sampler.takes(decided):
            return None
        links = self._links if self.is_stream else ()
        return begin(self.spans, "frame", arrived_at, parent=parent, kind=kind, links=links)

    @property
    def _inside(self) -> Context:
        return api.set_span_in_context(span_of(self.traced), _NOWHERE) if self.traced else _NOWHERE

    @property
    def _links(self) -> Sequence[api.Link]:
        return (api.Link(span_of(self.traced).get_span_context()),) if self.traced else ()


def _remote(metadata: Metadata) -> _Client | None:
    """Read where a client's span is; None if it says nothing, or nothing that makes sense, which counts as nothing."""
    parent = states = ""
    for key, value in metadata:
        if key == "traceparent":
            parent = str(value)
        elif key == "tracestate":
            states = f"{states},{value!s}" if states else str(value)
    if not parent or len(parent) > _LONGEST:
        return None
    context = _PROPAGATOR.extract({"traceparent": parent, "tracestate": states if len(states) <= _LONGEST else ""})
    found = api.get_current_span(context).get_span_context()
    return _Client(context, found.trace_flags.sampled) if found.is_valid else None
