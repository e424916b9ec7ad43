"""Traces through all programs: from the span of whoever calls to the stages in the server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_client_interceptors
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from collector import Collected, Collector, collecting
from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from nasfeat_client import AsyncFeatureClient, ClientConfig, FeatureClient
from nasfeat_server.telemetry.events import Stage
from programs import FAKE, server
from serving import pixels

_TRACING = ClientConfig(tracing=True)
_PICTURES = [np.full((32, 32, 3), number, np.uint8) for number in range(6)]
_CALL, _STREAM = "nasfeat.v1.FeatureService/ExtractFeatures", "nasfeat.v1.FeatureService/StreamFeatures"
_STAGES = [stage.value for stage in Stage]


class _Program:
    """This program's own spans, which is a client's."""

    def __init__(self) -> None:
        self._ended = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._ended))

    def called(self, name: str) -> list[ReadableSpan]:
        """Give the spans of a name."""
        return [span for span in self._ended.get_finished_spans() if span.name == name]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> _Program:
    """Set this program's tracing up; for good it could not be taken back."""
    made = _Program()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made.provider)
    return made


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Run a collector."""
    async with collecting() as running:
        yield running


def _child_of(span: ReadableSpan, found: list[Collected]) -> Collected:
    own = span.context
    ids = trace.format_trace_id(own.trace_id), trace.format_span_id(own.span_id)
    [child] = [one for one in found if (one.trace_id, one.parent_id) == ids]
    assert span.start_time
    assert span.end_time
    # A server is done with a call a little later than its client.
    assert span.start_time <= child.begun_ns <= span.end_time
    return child


async def test_a_trace_goes_from_the_programs_span_to_the_stages(program: _Program, collector: Collector) -> None:
    """Single images, streams, streams held open and the synchronous client: what is left at SIGTERM comes too."""
    tracer = program.provider.get_tracer("program")

    def synchronous(target: str) -> None:
        with FeatureClient(target, config=_TRACING) as client, client.open_stream() as stream:
            with tracer.start_as_current_span("request"):
                stream.send(_PICTURES[5])
            stream.end()
            assert all(result.ok for result in stream)

    async with server(*FAKE, "--trace-endpoint", collector.endpoint, "--trace-ratio", "0") as running:
        async with AsyncFeatureClient(running.listening, config=_TRACING) as client:
            with tracer.start_as_current_span("job"):
                await client.extract(_PICTURES[0])
                assert [result.ok async for result in client.stream(_PICTURES[1:4])] == [True] * 3
            async with client.open_stream() as stream:
                with tracer.start_as_current_span("request"):
                    await stream.send(_PICTURES[4])
                await stream.end()
                assert [result.ok async for result in stream] == [True]
        await asyncio.to_thread(synchronous, running.listening)
    [job], requests = program.called("job"), program.called("request")
    parents = [*[job] * 3, *requests]
    assert [span.parent and span.parent.span_id for span in program.called("frame")] == [
        parent.context.span_id for parent in parents
    ]
    images = [_child_of(span, collector.called("frame")) for span in program.called("frame")]
    assert [[stage.name for stage in collector.below(image)] for image in images] == [_STAGES] * 5
    streams = [_child_of(span, collector.called(_STREAM)) for span in program.called(_STREAM)]
    assert [image.links for image in images] == [[streams[number].span_id] for number in (0, 0, 0, 1, 2)]
    [extracted] = program.called(_CALL)
    [image] = collector.below(_child_of(extracted, collector.called(_CALL)))
    assert [stage.name for stage in collector.below(image)] == _STAGES[:-1]
    assert extracted.parent == job.context


async def test_a_client_that_samples_nothing_is_left_alone(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that would trace everything; its other clients decide for themselves, in gRPC's usual way."""
    unsampled, program = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False), _Program()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", unsampled)
    async with server(*FAKE, "--trace-endpoint", collector.endpoint, "--trace-ratio", "1") as running:
        async with AsyncFeatureClient(running.listening, config=_TRACING) as client:
            await client.extract(_PICTURES[0])
            assert len([result async for result in client.stream(_PICTURES)]) == len(_PICTURES)
        interceptors: Any = aio_client_interceptors(program.provider)  # type: ignore[no-untyped-call]
        async with grpc.aio.insecure_channel(running.listening, interceptors=interceptors) as channel:
            stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
            await stub.ExtractFeatures(feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)]))
    [call] = program.called(f"/{_CALL}")
    own = _child_of(call, collector.spans)
    assert (own.name, len(collector.below(own))) == (_CALL, 1)
    assert {span.trace_id for span in collector.spans} == {own.trace_id}
