"""What a client that traces tells its program's tracer, and servers."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from nasfeat_client import (
    AsyncFeatureClient,
    ClientConfig,
    ErrorReason,
    FrameError,
    OverloadedError,
    ResumeConfig,
    RetryConfig,
)
from nasfeat_client._fake import _Stream
from nasfeat_client.testing import FakeFeatureServer, Refusal, Script

_CONFIG = ClientConfig(
    tracing=True,
    resume=ResumeConfig(first_pause_s=0.001, longest_pause_s=0.01),
    retry=RetryConfig(max_attempts=1),
    window=4,
)
_STREAM = "nasfeat.v1.FeatureService/StreamFeatures"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], list[ReadableSpan]]]:
    """Let the program trace everything; gives the spans of a name that have ended."""
    exporter = _provide(monkeypatch, ALWAYS_ON)
    yield lambda name: [span for span in exporter.get_finished_spans() if span.name == name]
    exporter.shutdown()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Note what a fake server is told of each frame that comes: its id and what it is traced as."""
    noted, answer = [], _Stream._answer

    async def noting(stream: _Stream, frame: Any, previous: Any) -> None:
        noted.append((frame.frame_id, frame.traceparent))
        await answer(stream, frame, previous)

    monkeypatch.setattr(_Stream, "_answer", noting)
    return noted


def _provide(monkeypatch: pytest.MonkeyPatch, sampler: Sampler) -> InMemorySpanExporter:
    """Give the program a tracer provider; one that is set for good could not be taken away again."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def _told(span: ReadableSpan) -> tuple[int, str]:
    """Give what a server is to be told of the frame of a span."""
    own = span.context
    ids = f"{trace.format_trace_id(own.trace_id)}-{trace.format_span_id(own.span_id)}"
    return int(str((span.attributes or {})["nasfeat.frame.id"])), f"00-{ids}-{own.trace_flags:02x}"


async def test_each_frame_of_a_resumed_stream_has_one_span(
    server: FakeFeatureServer, spans: Callable[[str], list[ReadableSpan]], told: list[tuple[int, str]]
) -> None:
    """However often it is sent it is the same to the server; each call of the stream has a span of its own."""
    server.script = Script(
        results_before_end=3, ending=Refusal(code=grpc.StatusCode.UNAVAILABLE, message="the server is stopping")
    )
    async with AsyncFeatureClient(server.target, config=_CONFIG) as client:
        stream = client.stream([b"picture"] * 10)
        assert len([result async for result in stream]) == 10
    frames, calls = spans("frame"), spans(_STREAM)
    assert {_told(span) for span in frames} == set(told)
    assert len(frames) == 10 < len(told)
    assert len(calls) == 1 + stream.resumptions == len({span.context.trace_id for span in calls})


async def test_errors_are_in_the_spans(server: FakeFeatureServer, spans: Callable[[str], list[ReadableSpan]]) -> None:
    """Of a frame, of a call, and of a stream that is not granted."""
    server.script = Script(failures={1: FrameError(reason=ErrorReason.INVALID_IMAGE, message="no image")})
    async with AsyncFeatureClient(server.target, config=_CONFIG) as client:
        assert [result.ok async for result in client.stream([b"a", b"b"])] == [True, False]
        server.script = Script(refusal=Refusal(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="full"))
        with pytest.raises(OverloadedError):
            await client.models()
        with pytest.raises(OverloadedError):
            await anext(client.stream([b"a"]))
    good, bad = spans("frame")
    assert (good.status.is_ok, bad.status.description) == (True, "no image")
    [refused] = spans("nasfeat.v1.FeatureService/ListModels")
    granted, stream = spans(_STREAM)
    attributes = dict(refused.attributes or {})
    assert (attributes["error.type"], attributes["rpc.response.status_code"]) == (
        "OverloadedError",
        "RESOURCE_EXHAUSTED",
    )
    assert [span.status.is_ok for span in (refused, granted, stream)] == [False, True, False]
    assert {span.kind for span in (good, refused, stream)} == {trace.SpanKind.CLIENT}


async def test_frames_that_are_given_up_end_their_spans(
    server: FakeFeatureServer, spans: Callable[[str], list[ReadableSpan]]
) -> None:
    """A loop that is left: no span stays open, and none is an error."""
    async with AsyncFeatureClient(server.target, config=_CONFIG) as client:
        stream = client.stream(b"picture" for _ in range(1000))
        await anext(stream)
        await stream.aclose()
    assert len(spans("frame")) >= 1
    assert all(span.status.is_ok for span in spans("frame"))


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, None])
async def test_what_is_not_sampled_is_not_told(
    sampler: Sampler | None, server: FakeFeatureServer, told: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that samples nothing, or has set no tracer up, sends frames that say nothing."""
    if sampler:
        _provide(monkeypatch, sampler)
    async with AsyncFeatureClient(server.target, config=_CONFIG) as client:
        assert (await client.extract(b"picture")).ok
        assert len([result async for result in client.stream([b"a", b"b"])]) == 2
    assert told == [(0, ""), (1, "")]


def test_without_its_library_tracing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install, and when the client is made; a client that does not trace needs none."""
    for name in ("opentelemetry", "nasfeat_client._tracing"):
        monkeypatch.setitem(sys.modules, name, None)
    AsyncFeatureClient("localhost:1")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'nasfeat\[otel\]'"):
        AsyncFeatureClient("localhost:1", config=_CONFIG)
