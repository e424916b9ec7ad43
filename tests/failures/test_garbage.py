"""Bytes on the port that nobody would send on purpose, except to do harm."""

import asyncio
import contextlib
import random
from typing import Any

import grpc.aio
import psutil
import pytest

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from programs import FAKE, RunningServer, server
from serving import frame, metric, next_result, opening, pixels, running

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SERVICE = "/nasfeat.v1.FeatureService"
_MIB = 2**20


async def test_garbage_does_no_harm() -> None:
    """Row 29: random bytes, broken HTTP/2, mutated messages: the server lives, answers, and is as large as before."""
    async with server(*FAKE) as running:
        await _answers(running)
        process = psutil.Process(running.process.pid)
        await _harm(running, seed=1)
        before, descriptors = process.memory_info().rss, process.num_fds()
        for seed in range(2, 8):
            await _harm(running, seed)
        await _answers(running)
        while process.num_fds() > descriptors + 2:  # noqa: ASYNC110 - gRPC closes connections in its own time
            await asyncio.sleep(0.05)
        assert process.memory_info().rss - before < 24 * _MIB


async def _harm(running: RunningServer, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    await asyncio.gather(*(_send_bytes(running.listening, chance.randbytes(4096), b"") for _ in range(20)))
    await asyncio.gather(*(_send_bytes(running.listening, _PREFACE, _frames(chance)) for _ in range(20)))
    async with grpc.aio.insecure_channel(running.listening) as channel:
        await asyncio.gather(*(_call(channel, chance) for _ in range(40)))
        await asyncio.gather(*(_stream(channel, chance) for _ in range(10)))


def _frames(chance: random.Random) -> bytes:
    """Make HTTP/2 frames of random kinds with random contents."""
    made = b""
    for _ in range(chance.randrange(1, 20)):
        content = chance.randbytes(chance.randrange(0, 300))
        kind, flags, stream = chance.randrange(12), chance.randrange(256), chance.randrange(0, 20)
        made += len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content
    return made


async def _send_bytes(target: str, first: bytes, then: bytes) -> None:
    host, _, port = target.rpartition(":")
    with contextlib.suppress(ConnectionError):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(first)
        await writer.drain()
        writer.write(then)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


def _mutated(message: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat and insert bytes of a message."""
    data = bytearray(message)
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randrange(1, 40)]
            case 2:
                data[at:at] = data[at : at + chance.randrange(1, 200)]
            case _:
                data[at:at] = chance.randbytes(chance.randrange(1, 20))
    return bytes(data)


async def _call(channel: grpc.aio.Channel, chance: random.Random) -> None:
    request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(7)], outputs=["Logits"], top_k=3)
    method: Any = channel.unary_unary(f"{_SERVICE}/ExtractFeatures")
    with contextlib.suppress(grpc.aio.AioRpcError):
        await method(_mutated(request.SerializeToString(), chance), timeout=20)


async def _stream(channel: grpc.aio.Channel, chance: random.Random) -> None:
    call: Any = channel.stream_stream(f"{_SERVICE}/StreamFeatures")(timeout=20)
    with contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        first = opening().SerializeToString()
        await call.write(_mutated(first, chance) if chance.random() < 0.2 else first)
        for number in range(10):
            message = frame(number).SerializeToString()
            await call.write(_mutated(message, chance) if chance.random() < 0.5 else message)
        await call.done_writing()
        while await call.read() is not grpc.aio.EOF:
            pass


async def _answers(running: RunningServer) -> None:
    async with grpc.aio.insecure_channel(running.listening) as channel:
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)])
        reply = await stub.ExtractFeatures(request, timeout=20)
        assert reply.results[0].HasField("features")


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
