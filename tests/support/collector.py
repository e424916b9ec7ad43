"""A real collector of traces: OTLP over gRPC on a free port, which keeps what it is sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from serving import until

SERVER, CLIENT, INTERNAL = trace_pb2.Span.SPAN_KIND_SERVER, trace_pb2.Span.SPAN_KIND_CLIENT, 1
ERROR = trace_pb2.Status.STATUS_CODE_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """A span as it came.

    Attributes:
        service: the name of the service that sent it.
        begun_ns: nanoseconds since 1970.
        error: what its status says of an error; None if that is none.
    """

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    begun_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    links: Sequence[str]
    error: str | None
    resource: Mapping[str, Any] = field(repr=False)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_ns - self.begun_ns) / 1e9


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps spans in the order in which they came.

    Attributes:
        endpoint: "http://HOST:PORT", once it is up.
        gate: while it is not set, no span is taken.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Collected] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def Export(  # noqa: N802 - the name on the wire
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Take spans."""
        await self.gate.wait()
        for resource in request.resource_spans:
            facts = _values(resource.resource.attributes)
            self.spans += [_collected(span, facts) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    async def wait_for(self, count: int, name: str = "frame") -> list[Collected]:
        """Wait for so many spans of a name, and give those."""
        await until(lambda: len(self.called(name)) >= count)
        return self.called(name)

    def called(self, name: str) -> list[Collected]:
        """Give the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def below(self, span: Collected) -> list[Collected]:
        """Give the spans of which `span` is the parent, the first to begin first."""
        children = [one for one in self.spans if (one.trace_id, one.parent_id) == (span.trace_id, span.span_id)]
        return sorted(children, key=lambda one: (one.begun_ns, one.ended_ns))


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector until the context ends."""
    collector, server = Collector(), grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    register: Callable[..., None] = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        collector.gate.set()
        await server.stop(None)


def _collected(span: trace_pb2.Span, resource: Mapping[str, Any]) -> Collected:
    return Collected(
        service=resource["service.name"],
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        begun_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        links=[link.span_id.hex() for link in span.links],
        error=span.status.message if span.status.code == ERROR else None,
        resource=resource,
    )


def _values(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in pairs}
