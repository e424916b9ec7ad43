"""Traces of a real server, as a real collector gets them."""

import contextlib
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import INTERNAL, SERVER, Collected, Collector, collecting
from credentials import bearing, write_tokens
from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.app import App
from nasfeat_server.config import SecurityConfig, TracingConfig
from nasfeat_server.telemetry.events import Stage
from nasfeat_server.telemetry.tracing import Tracing
from nasfeat_server.telemetry.tracing_export import Export
from serving import connected, frame, metric, next_result, opening, pixels, running

_STREAM, _EXTRACT = "nasfeat.v1.FeatureService/StreamFeatures", "nasfeat.v1.FeatureService/ExtractFeatures"
_TRACE, _PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
_WANTED, _UNWANTED = f"00-{_TRACE}-{_PARENT}-01", f"00-{_TRACE}-{_PARENT}-00"
_MALFORMED = ("", "no context", f"00-{'0' * 32}-{_PARENT}-01", f"00-{_TRACE.upper()}-{_PARENT}-01", "0" * 10_000)


@contextlib.asynccontextmanager
async def _traced(*, ratio: float, limit: float = 200.0, **changes: Any) -> AsyncIterator[tuple[App, Any, Collector]]:
    """Serve until the context ends; then the collector has every span."""
    async with collecting() as collector:
        tracing = TracingConfig(endpoint=collector.endpoint, ratio=ratio, limit=limit)
        async with running(tracing=tracing, **changes) as app, connected(app) as stub:
            yield app, stub, collector


async def _stream(stub: Any, *frames: feature_service_pb2.StreamFeaturesRequest, **options: Any) -> list[Any]:
    """Send frames over one stream and give their results; `metadata` is the call's."""
    call: Any = stub.StreamFeatures(metadata=options.pop("metadata", None))
    for message in (opening(**options), *frames):
        await call.write(message)
    await call.done_writing()
    results = []
    while result := await next_result(call):
        results.append(result)
    return results


def _frame(frame_id: int, traceparent: str) -> feature_service_pb2.StreamFeaturesRequest:
    request = frame(frame_id)
    request.frame.traceparent = traceparent
    return request


def _logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Give the traces that refusals in the log are of."""
    told = (vars(record) for record in caplog.records if record.name.endswith("rejections"))
    return [(fields["trace_id"], fields["span_id"]) for fields in told]


def _check_stages(collector: Collector, image: Collected, timings: Any) -> None:
    """The stages lie in their image, one after the other, and took what the result says."""
    stages = collector.below(image)
    assert [stage.name for stage in stages] == [stage.value for stage in Stage if getattr(timings, f"{stage}_s")]
    assert all(stage.trace_id == image.trace_id and stage.kind == INTERNAL for stage in stages)
    for stage in stages:
        assert image.begun_ns <= stage.begun_ns <= stage.ended_ns <= image.ended_ns
        assert stage.seconds == pytest.approx(getattr(timings, f"{stage.name}_s"), abs=1e-6)
    for before, after in itertools.pairwise(stages):
        assert before.ended_ns <= after.begun_ns + 1000


async def test_every_image_of_a_stream_is_a_trace_with_its_stages(caplog: pytest.LogCaptureFixture) -> None:
    """Those that a device computed, in batches, and one that is refused; each is linked to the call."""
    bad = frame(5, image_pb2.Image(encoded=b"no image"))
    async with _traced(ratio=1.0, max_batch_size=4, weights="sleep:0.02") as (app, stub, collector):
        results = await _stream(stub, *(frame(number) for number in range(5)), bad, stream_id="camera")
    [call] = collector.called(_STREAM)
    images = collector.called("frame")
    assert (call.kind, call.parent_id, call.error) == (SERVER, "", None)
    assert call.attributes["rpc.response.status_code"] == "OK"
    assert len({image.trace_id for image in (*images, call)}) == 7
    assert len(images) == len(results) == 6
    for image, result in zip(images, results, strict=True):
        assert (image.kind, image.parent_id, image.links) == (SERVER, "", [call.span_id])
        assert (image.attributes["nasfeat.stream.id"], image.attributes["nasfeat.model.label"]) == ("camera", "stable")
        assert image.attributes["nasfeat.frame.id"] == str(result.frame_id)
        _check_stages(collector, image, result.timings)
    batches = [span.attributes for span in collector.called("execute")]
    assert {batch["nasfeat.device"] for batch in batches} == {"cpu:0"}
    assert max(batch["nasfeat.batch.size"] for batch in batches) > 1
    refused = images[5]
    assert refused.error == results[5].error.message
    assert [stage.name for stage in collector.below(refused)] == ["receive", "decode", "reply"]
    assert (refused.attributes["error.type"], refused.attributes["nasfeat.outcome"]) == ("InvalidImage", "invalid")
    assert _logged(caplog) == [(refused.trace_id, refused.span_id)]
    assert [image.error for image in images[:5]] == [None] * 5
    assert {key for key in call.resource if not key.startswith("telemetry")} == {
        *("service.name", "service.version", "service.instance.id", "host.name", "process.pid")
    }
    counted = (metric(app, "nasfeat_trace_spans_total", outcome=outcome) for outcome in ("sent", "failed", "overflow"))
    assert list(counted) == [len(collector.spans), 0, 0]


async def test_the_images_of_a_call_are_in_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    """That is the client's, where it has one; an error of the client's is its status and not the server's error."""
    request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1), pixels(2)])
    async with _traced(ratio=0.0) as (_, stub, collector):
        metadata = (("traceparent", _WANTED), ("tracestate", "vendor=1"))
        reply = await stub.ExtractFeatures(request, metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ExtractFeatures(feature_service_pb2.ExtractFeaturesRequest(), metadata=metadata)
    call, refused = collector.called(_EXTRACT)
    assert {span.trace_id for span in collector.spans} == {_TRACE}
    assert call.parent_id == refused.parent_id == _PARENT
    assert (refused.error, refused.attributes["rpc.response.status_code"]) == (None, "INVALID_ARGUMENT")
    assert _logged(caplog) == [(refused.trace_id, refused.span_id)]
    images = collector.below(call)
    assert [image.attributes["nasfeat.frame.id"] for image in images] == ["0", "1"]
    for image, result in zip(images, reply.results, strict=True):
        assert (image.kind, image.links) == (INTERNAL, [])
        _check_stages(collector, image, result.timings)


async def test_clients_decide_and_the_ratio_decides_for_the_others() -> None:
    """With a ratio of 0 only what clients want is traced, whatever else they send; an image may have its own."""
    async with _traced(ratio=0.0) as (_, stub, collector):
        frames = (_frame(0, _WANTED), _frame(1, _UNWANTED), *(_frame(2 + n, odd) for n, odd in enumerate(_MALFORMED)))
        assert all(result.HasField("features") for result in await _stream(stub, *frames))
        for odd in _MALFORMED[1:-1]:
            await _stream(stub, frame(0), metadata=(("traceparent", odd),))
        await stub.ListModels(feature_service_pb2.ListModelsRequest())
    [image] = collector.called("frame")
    assert (image.trace_id, image.parent_id, image.links) == (_TRACE, _PARENT, [])
    assert len(collector.spans) == 1 + len(Stage)


async def test_what_a_client_does_not_want_traced_is_not() -> None:
    """With a ratio of 1: neither its call nor the images of it that say nothing; malformed contexts count as none."""
    async with _traced(ratio=1.0) as (_, stub, collector):
        await _stream(stub, frame(0), _frame(1, _WANTED), metadata=(("traceparent", _UNWANTED),))
        await stub.ListModels(feature_service_pb2.ListModelsRequest(), metadata=(("traceparent", _UNWANTED),))
        await _stream(stub, _frame(2, _UNWANTED), metadata=(("traceparent", _MALFORMED[1]),))
    assert [image.attributes["nasfeat.frame.id"] for image in collector.called("frame")] == ["1"]
    [call] = collector.called(_STREAM)
    assert call.trace_id != _TRACE


@pytest.mark.parametrize("state", ["down", "silent"])
async def test_a_collector_that_takes_nothing_hinders_nobody(state: str, caplog: pytest.LogCaptureFixture) -> None:
    """Frames are answered, the server stops, and the log has one line about it; what was lost is counted."""
    async with collecting() as collector:
        collector.gate.clear()
        endpoint = collector.endpoint if state == "silent" else "http://127.0.0.1:1"
        tracing = TracingConfig(endpoint=endpoint, ratio=1.0)
        async with running(tracing=tracing, grace_s=0.3) as app, connected(app) as stub:
            results = await _stream(stub, *(frame(number) for number in range(20)))
    assert all(result.HasField("features") for result in results)
    assert metric(app, "nasfeat_trace_spans_total", outcome="failed") == 20 * 6 + 1
    told = [record for record in caplog.records if record.name.endswith("tracing_export")]
    assert [endpoint in record.getMessage() for record in told] == [True]


async def test_what_has_no_place_in_the_queue_is_given_up() -> None:
    """While the collector takes nothing the queue fills and no further; when it does, what is in the queue comes."""
    async with collecting() as collector:
        collector.gate.clear()
        export = Export(collector.endpoint, queue=8)
        async with export.running(5.0) as tracer:
            for number in range(100):
                tracer.start_span(str(number)).end()
            taken = 100 - export.overflowed
            # A batch that is on its way is in the queue no more.
            assert 8 <= taken <= 16
            collector.gate.set()
    assert [span.name for span in collector.spans[:8]] == [str(number) for number in range(8)]
    assert (export.sent, export.failed) == (len(collector.spans), 0) == (taken, 0)


async def test_a_tenant_has_what_the_limit_leaves(tmp_path: Path) -> None:
    """Frames above it are answered and counted; strangers take nothing of it, and are not traced."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"cameras": (("nasfeat_a-token",), {})})
    changes: dict[str, Any] = {"security": SecurityConfig(tokens=tokens), "model_version": "spring"}
    async with _traced(ratio=0.0, limit=0.001, **changes) as (app, stub, collector):
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ListModels(feature_service_pb2.ListModelsRequest(), metadata=(("traceparent", _WANTED),))
        frames = (_frame(number, _WANTED) for number in range(20))
        assert len(await _stream(stub, *frames, metadata=bearing("nasfeat_a-token"))) == 20
        assert metric(app, "nasfeat_trace_limited_total") == 19
    [image] = collector.called("frame")
    assert (image.attributes["nasfeat.model.version"], image.attributes["nasfeat.tenant"]) == ("spring", "cameras")
    assert len(collector.spans) == 1 + len(Stage)


async def test_frames_that_no_device_had_say_what_became_of_them() -> None:
    """Two that waited for the same image as another, which is their queue; and some whose client has left."""
    async with _traced(ratio=1.0, single_flight=True, weights="sleep:0.05") as (_, stub, collector):
        await _stream(stub, *(frame(number, pixels(7)) for number in range(3)), stream_id="same")
        call: Any = stub.StreamFeatures()
        for message in (opening(stream_id="left"), *(frame(number) for number in range(4))):
            await call.write(message)
        await call.read()
        call.cancel()
    images = collector.called("frame")
    shared = [image for image in images if image.attributes.get("nasfeat.source") == "shared"]
    assert [[stage.name for stage in collector.below(image)] for image in shared] == [["queue", "reply"]] * 2
    left = [image for image in images if image.attributes["nasfeat.stream.id"] == "left"]
    assert {(image.attributes["nasfeat.outcome"], image.error) for image in left} <= {("cancelled", None), ("ok", None)}
    _, ended = collector.called(_STREAM)
    assert (ended.attributes["rpc.response.status_code"], ended.error) == ("CANCELLED", None)


@settings(max_examples=50)
@given(
    parent=st.one_of(st.text(), st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")), state=st.text()
)
def test_whatever_clients_say_is_no_error(parent: str, state: str) -> None:
    """It decides, or it counts as nothing."""
    call = Tracing(TracingConfig(ratio=0.0)).call(_STREAM, (("traceparent", parent), ("tracestate", state)))
    assert call.traced is None or re.match(r"[0-9a-f-]{55}", parent)
    call.image(parent, 0.0)
