"""The spans themselves: their names, times and attributes.

Calls are described as OpenTelemetry's conventions for RPC say (https://opentelemetry.io/docs/specs/semconv/rpc).
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from opentelemetry import trace as api
from opentelemetry.context import Context

from nasfeat_server.telemetry.events import CallEnded, FrameFinished, Outcome, Stage
from nasfeat_server.telemetry.traces import ImageTrace, Traced

_Value = str | int | float

# The statuses that are the server's own errors by those conventions; the others are its clients'.
_SERVER_ERRORS = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))
# A frame that was dropped, as its stream asked for, or given up by its client, is no error.
_ERRORS = frozenset((Outcome.REJECTED, Outcome.EXPIRED, Outcome.INVALID, Outcome.ERROR))


class _Begun(NamedTuple):
    """A span, and how far the wall's clock was from the monotonic one when it began: all times in it are by that."""

    span: api.Span
    offset_ns: int

    def wall_ns(self, at: float) -> int:
        return round(at * 1e9) + self.offset_ns


def begin(
    spans: api.Tracer,
    name: str,
    at: float,
    *,
    parent: Context,
    kind: api.SpanKind,
    attributes: Mapping[str, str] | None = None,
    links: Sequence[api.Link] = (),
) -> Traced:
    """Begin the span of a call or an image, at a time of the monotonic clock."""
    offset_ns = time.time_ns() - time.monotonic_ns()
    span = spans.start_span(name, parent, kind, attributes, links, round(at * 1e9) + offset_ns)
    ids = span.get_span_context()
    return Traced(
        trace_id=api.format_trace_id(ids.trace_id),
        span_id=api.format_span_id(ids.span_id),
        span=_Begun(span, offset_ns),
    )


def span_of(traced: Traced) -> api.Span:
    """Give what `begin` began."""
    begun: _Begun = traced.span
    return begun.span


def end_call(traced: Traced, event: CallEnded) -> None:
    """End the span of a call."""
    begun: _Begun = traced.span
    span = begun.span
    span.set_attribute("rpc.response.status_code", event.code)
    span.set_attribute("nasfeat.received_bytes", event.received_bytes)
    span.set_attribute("nasfeat.sent_bytes", event.sent_bytes)
    if event.code in _SERVER_ERRORS:
        span.set_attribute("error.type", event.code)
        span.set_status(api.StatusCode.ERROR)
    span.end(begun.wall_ns(time.monotonic()))


def end_image(event: FrameFinished, trace: ImageTrace, spans: api.Tracer) -> None:
    """Make the spans of an image's stages, and end its own."""
    ended_at = time.monotonic()
    begun: _Begun = trace.traced.span
    span, inside = begun.span, api.set_span_in_context(begun.span, Context())
    for stage, seconds in event.stages_s.items():
        begun_at = trace.begun_at[stage]
        attributes = _execution(trace) if stage is Stage.EXECUTE else None
        child = spans.start_span(stage.value, inside, attributes=attributes, start_time=begun.wall_ns(begun_at))
        child.end(begun.wall_ns(begun_at + seconds))
    span.set_attributes(_attributes(event, trace))
    if event.outcome in _ERRORS:
        span.set_attribute("error.type", event.reason or event.outcome.value)
        span.set_status(api.StatusCode.ERROR, trace.message)
    span.end(begun.wall_ns(ended_at))


def _execution(trace: ImageTrace) -> dict[str, _Value]:
    return {"nasfeat.device": trace.device, "nasfeat.batch.size": trace.batch_size}


def _attributes(event: FrameFinished, trace: ImageTrace) -> dict[str, _Value]:
    """Give what is known of an image; what it has not is left out."""
    known: dict[str, _Value] = {
        # Numbers of OpenTelemetry's have a sign: an id may be too large for one.
        "nasfeat.frame.id": str(trace.frame_id),
        "nasfeat.outcome": event.outcome.value,
        "nasfeat.model.version": trace.version,
        "nasfeat.model.label": event.label.value,
    }
    perhaps = {
        "nasfeat.stream.id": trace.stream_id,
        "nasfeat.tenant": trace.tenant,
        "nasfeat.reason": event.reason,
        "nasfeat.source": event.source.value if event.source else "",
    }
    return known | {name: value for name, value in perhaps.items() if value}
