"""What is told of every call, under gRPC's own names."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from credentials import write_tokens
from nasfeat.v1 import feature_service_pb2
from nasfeat_server.app import App
from nasfeat_server.config import SecurityConfig
from serving import connected, frame, metric, opening, running, until

_SERVICE = "nasfeat.v1.FeatureService"


def _ended(app: App, method: str, status: str) -> float:
    return metric(app, "grpc_server_call_duration_seconds_count", grpc_method=method, grpc_status=status)


def _size(app: App, direction: str, method: str, status: str) -> float:
    name = f"grpc_server_call_{direction}_total_compressed_message_size_bytes_sum"
    return metric(app, name, grpc_method=method, grpc_status=status)


async def test_a_unary_call_is_told_with_its_sizes() -> None:
    """One call: begun, ended, and as many bytes as its messages have."""
    request = feature_service_pb2.ListModelsRequest()
    method = f"{_SERVICE}/ListModels"
    async with running() as app, connected(app) as stub:
        response = await stub.ListModels(request)
        await until(lambda: _ended(app, method, "OK") == 1)
        assert metric(app, "grpc_server_call_started_total", grpc_method=method) == 1
        assert _size(app, "rcvd", method, "OK") == request.ByteSize()
        assert _size(app, "sent", method, "OK") == response.ByteSize()


async def test_a_stream_is_told_when_it_ends_with_all_of_its_messages() -> None:
    """Its frames and results add up; while it is open it has begun and not ended."""
    method = f"{_SERVICE}/StreamFeatures"
    requests = [opening(), *(frame(number) for number in range(3))]
    received = 0
    async with running() as app, connected(app) as stub:
        call: Any = stub.StreamFeatures()
        for request in requests:
            await call.write(request)
        received += (await call.read()).ByteSize()
        assert metric(app, "grpc_server_call_started_total", grpc_method=method) == 1
        assert _ended(app, method, "OK") == 0
        await call.done_writing()
        while (reply := await call.read()) is not grpc.aio.EOF:
            received += reply.ByteSize()
        await until(lambda: _ended(app, method, "OK") == 1)
        assert _size(app, "rcvd", method, "OK") == sum(request.ByteSize() for request in requests)
        assert _size(app, "sent", method, "OK") == received


async def test_calls_are_told_by_how_they_ended() -> None:
    """An error of ours, one of the caller's, and a client that leaves."""
    async with running() as app, connected(app) as stub:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetModel(feature_service_pb2.GetModelRequest(name="of nobody"))
        call: Any = stub.StreamFeatures()
        await call.write(frame(0))
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        left: Any = stub.StreamFeatures()
        await left.write(opening())
        await left.read()
        left.cancel()
        await until(lambda: _ended(app, f"{_SERVICE}/StreamFeatures", "CANCELLED") == 1)
        assert _ended(app, f"{_SERVICE}/GetModel", "NOT_FOUND") == 1
        assert _ended(app, f"{_SERVICE}/StreamFeatures", "INVALID_ARGUMENT") == 1


async def test_calls_of_every_service_are_told() -> None:
    """Health checks, those that watch too, and reflection, whose answers are generated."""
    async with running() as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        await health.Check(health_pb2.HealthCheckRequest())
        watching = health.Watch(health_pb2.HealthCheckRequest())
        await watching.read()
        watching.cancel()
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = [answer async for answer in reflection.ServerReflectionInfo(iter([asked]))]
        assert f"{_SERVICE}" in {service.name for service in answer.list_services_response.service}
        await until(lambda: _ended(app, "grpc.health.v1.Health/Watch", "CANCELLED") == 1)
        reflected = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        await until(lambda: _ended(app, reflected, "OK") == 1)
        assert _ended(app, "grpc.health.v1.Health/Check", "OK") == 1
        assert _size(app, "sent", reflected, "OK") == answer.ByteSize()


async def test_what_is_not_served_has_one_name(tmp_path: Path) -> None:
    """Whatever clients ask for, also from those whom the server does not know: they cannot make up series."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"cameras": (("nasfeat_x",), {})})
    for security, status in ((None, "UNIMPLEMENTED"), (SecurityConfig(tokens=tokens), "UNAUTHENTICATED")):
        changes: dict[str, Any] = {"security": security} if security else {}
        async with running(**changes) as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
            methods: list[Any] = [channel.unary_unary(f"/of.nobody/Number{number}") for number in range(20)]
            calls = [method(b"") for method in methods]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            codes = {answer.code().name for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
            assert codes == {status}
            await until(lambda app=app, status=status: _ended(app, "other", status) == 20)  # type: ignore[misc]
            assert metric(app, "grpc_server_call_started_total", grpc_method="other") == 20


async def test_what_is_not_served_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """As all that is refused."""
    async with running() as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
        method: Any = channel.unary_unary("/nasfeat.v1.FeatureService/Extract")
        with pytest.raises(grpc.aio.AioRpcError, match="Method not found"):
            await method(b"")
    told = [record.getMessage() for record in caplog.records if record.name.endswith("rejections")]
    assert told == ["other: Unimplemented: there is no such method"]
