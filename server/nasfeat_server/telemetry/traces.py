"""What the core knows of traces: whether a call or an image has one, and nothing of what becomes of it.

`nasfeat_server.telemetry.tracing` decides, and makes spans with OpenTelemetry; without a collector it is not there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A call or an image that is traced.

    Attributes:
        trace_id: 32 hexadecimal digits, as W3C's trace context has them.
        span_id: 16 of them.
        span: the tracer's own, which has begun.
    """

    trace_id: str
    span_id: str
    span: Any


class TraceCounts(NamedTuple):
    """What tracing has done.

    Attributes:
        limited: calls and images that were not traced because of the limit alone.
        sent: spans that the collector has taken.
        failed: spans that it has not.
        overflowed: spans for which there was no place in the queue.
    """

    limited: int = 0
    sent: int = 0
    failed: int = 0
    overflowed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTrace:
    """What a trace tells of an image whose life has ended, beside how it did.

    Attributes:
        traced: the image.
        stream_id: the name of its stream; "" outside of one.
        tenant: whose it is; "" if nobody has to say.
        version: the operator's name for the weights.
        begun_at: when each of its stages began, on the monotonic clock.
        device: what computed it; "" if nothing did for this very image.
        batch_size: images that were computed with it, itself among them.
        message: what the client was told of an error.
    """

    traced: Traced
    stream_id: str
    frame_id: int
    tenant: str
    version: str
    begun_at: Mapping[str, float]
    device: str = ""
    batch_size: int = 0
    message: str = ""


class CallTrace(Protocol):
    """What is traced of one call."""

    @property
    def traced(self) -> Traced | None:
        """The call itself; None if it is not traced, which says nothing of its images."""
        ...

    def image(self, traceparent: str, arrived_at: float) -> Traced | None:
        """Decide on an image of the call.

        Args:
            traceparent: what the client says of this image alone, as in W3C's trace context; "" for nothing.
            arrived_at: when it came, on the monotonic clock.

        Returns:
            None if it is not traced.
        """
        ...


class Tracer(Protocol):
    """Whoever decides what is traced."""

    def call(self, method: str, metadata: Metadata) -> CallTrace:
        """Decide on a call that begins, as its client's metadata say, or else as it pleases.

        Args:
            method: "package.Service/Method".
            metadata: the call's.
        """
        ...
