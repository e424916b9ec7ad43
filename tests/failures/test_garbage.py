"""Bytes on the port that nobody would send on purpose, except to do harm."""

import contextlib
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from tests.fuzz.port import connections, http2
from tests.fuzz.port.conductor import Options, fuzz_port

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from serving import frame, metric, next_result, opening, pixels, running

_SERVICE = "/nasfeat.v1.FeatureService"


@pytest.mark.slow
async def test_garbage_does_no_harm(tmp_path: Path) -> None:
    """Row 29: bytes, frames and messages that are damaged; the server lives, serves others, and holds what it held."""
    result = await fuzz_port(Options(seconds=2.5, seed=1, folder=tmp_path), print)
    assert not result.crashes
    assert not result.hangs
    assert all(result.kinds.values())


async def test_a_malformed_message_is_the_callers_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """Row 29: what is no message is INVALID_ARGUMENT in a call and in a stream, and the log has no more than why."""
    async with running() as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
        unary: Any = channel.unary_unary(f"{_SERVICE}/ExtractFeatures")
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be parsed") as caught:
            await unary(b"\x0a\xff")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        for messages in ((b"\x0a\xff",), (opening().SerializeToString(), b"\x12\xff")):
            call: Any = channel.stream_stream(f"{_SERVICE}/StreamFeatures")()
            for message in messages:
                await call.write(message)
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await call.read() is not grpc.aio.EOF:
                    pass
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "cannot be parsed" in await call.details()
        assert metric(app, "nasfeat_requests_total", method="StreamFeatures", code="INVALID_ARGUMENT") == 2
    told = [record.getMessage() for record in caplog.records if record.name.endswith("rejections")]
    assert [line.partition(":")[0] for line in told] == ["ExtractFeatures", "StreamFeatures"]
    assert all("InvalidRequest: " in line and "cannot be parsed" in line for line in told)


async def test_a_message_of_nothing_but_fields_is_not_parsed() -> None:
    """Row 29: parsed it would take fifty times its size; a call with it is refused, and the next one answered."""
    async with running() as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
        unary: Any = channel.unary_unary(f"{_SERVICE}/ExtractFeatures")
        with pytest.raises(grpc.aio.AioRpcError, match="over 32768 fields") as caught:
            await unary(b"\x0a\x00" * 2**22)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)])
        assert await unary(request.SerializeToString())


async def test_a_deadline_in_an_age_is_one() -> None:
    """Row 29: the longest that the wire can say; the frame is answered, and nothing is the server's fault."""
    async with running() as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
        call = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        request = opening()
        request.options.frame_deadline.seconds = 2**63 - 1
        await call.write(request)
        await call.write(frame(1))
        result = await next_result(call)
        assert result
        assert result.HasField("features")
        call.cancel()


async def test_a_method_that_is_no_text_closes_nothing() -> None:
    """Row 29: gRPC's own loop, which takes all calls, would end with it (1.84, 1.85)."""
    path = f"{_SERVICE}/".encode() + b"\x80"
    headers = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"))
    call = http2.conversation((*headers, (b"te", b"trailers"), (b"content-type", b"application/grpc")), b"")
    async with running() as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
        await connections.send(str(app.listening), call)
        request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)])
        reply = await feature_service_pb2_grpc.FeatureServiceStub(channel).ExtractFeatures(request)
    assert reply.results[0].HasField("features")


async def test_malformed_messages_leave_no_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    """Row 29: the other services of the port too take what is no message calmly."""
    async with running() as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
        check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be parsed"):
            await check(b"\x0a\xff")
        watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be parsed"):
            await watch(b"\x0a\xff").read()
        reflect: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")()
        await reflect.write(b"\x0a\xff")
        assert await reflect.read() is not grpc.aio.EOF
        reflect.cancel()
    assert not [record for record in caplog.records if record.exc_info]
