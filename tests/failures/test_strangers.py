"""Row 27: callers whom the server does not know, and a server whom clients should not trust."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from credentials import Authority, ago, bearing, write_tokens
from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_client import AccessDeniedError, AsyncFeatureClient, ClientConfig, RetryConfig, ServerUnavailableError
from nasfeat_server.app import App
from nasfeat_server.config import SecurityConfig
from serving import connected, metric, opening, pixels, running

_TOKEN = "nasfeat_the-right-one"  # noqa: S105 - of nobody
_WRONG = "nasfeat_the-wrong-one"
_LARGE = feature_service_pb2.ExtractFeaturesRequest(images=[image_pb2.Image(encoded=bytes(60 * 2**20))])


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[App]:
    """Run a server that asks for tokens."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"cameras": ((_TOKEN,), {})})
    async with running(security=SecurityConfig(tokens=tokens)) as app:
        yield app


class _Meter:
    """Passes bytes on to a server and counts those that it took."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.taken = 0

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client with the server."""
        host, _, port = self._target.rpartition(":")
        from_server, to_server = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            self._pipe(reader, to_server, counted=True), self._pipe(from_server, writer, counted=False)
        )

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        try:
            while chunk := await reader.read(2**16):
                self.taken += len(chunk) * counted
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "missing"),
        (bearing(_WRONG), "unknown"),
        (bearing(""), "malformed"),
        ((("authorization", f"Basic {_TOKEN}"),), "malformed"),
        ((*bearing(_TOKEN), *bearing(_TOKEN)), "malformed"),
        ((("authorization", _TOKEN),), "malformed"),
    ],
)
async def test_without_the_right_token_nothing_of_an_image_is_read(
    guarded: App, metadata: tuple[tuple[str, str], ...], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 27: UNAUTHENTICATED after what fits into buffers, a fraction of the 60 MiB; no frame is counted."""
    meter = _Meter(str(guarded.listening))
    proxy = await asyncio.start_server(meter.pass_on, "127.0.0.1", 0)
    target = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    options = (("grpc.max_send_message_length", -1),)
    async with proxy, grpc.aio.insecure_channel(target, options=options) as channel:
        call: Any = channel.unary_unary(
            "/nasfeat.v1.FeatureService/ExtractFeatures",
            request_serializer=feature_service_pb2.ExtractFeaturesRequest.SerializeToString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(_LARGE, metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert meter.taken < 15 * 2**20
    assert metric(guarded, "nasfeat_in_flight_frames") == 0
    assert metric(guarded, "nasfeat_stage_seconds_count", stage="receive") == 0
    assert metric(guarded, "nasfeat_auth_failures_total", reason=reason) == 1
    assert metric(guarded, "nasfeat_requests_total", method="ExtractFeatures", code="UNAUTHENTICATED") == 1
    assert f"token {reason}" in caplog.text
    assert _TOKEN not in caplog.text
    assert _WRONG not in caplog.text


async def test_a_stream_without_a_token_is_refused_before_its_options(guarded: App) -> None:
    """Row 27: nothing is granted, and the SDK says that access is denied, at once."""
    async with connected(guarded) as stub:
        call: Any = stub.StreamFeatures()
        with pytest.raises(grpc.aio.AioRpcError, match="authorization: Bearer TOKEN"):
            await call.read()
    async with AsyncFeatureClient(str(guarded.listening), config=ClientConfig(token=_WRONG)) as client:
        with pytest.raises(AccessDeniedError, match="the token is not known here"):
            async for _ in client.stream([b"a", b"b"]):
                pass
    assert metric(guarded, "nasfeat_stream_seconds_count") == 0


async def test_every_method_but_the_health_check_wants_a_token(guarded: App) -> None:
    """Row 27: reflection and methods that there are not are refused too; probes have no tokens and need none."""
    async with grpc.aio.insecure_channel(str(guarded.listening)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for method in (
            "/nasfeat.v1.FeatureService/GetModel",
            "/nasfeat.v1.FeatureService/ListModels",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            "/grpc.health.v1.HealthOfMine/Check",
            "/nasfeat.v1.FeatureService/Nothing",
            "/",
        ):
            call: Any = channel.unary_unary(method)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert metric(guarded, "nasfeat_auth_failures_total", reason="missing") == 6


async def test_a_flood_of_refusals_does_not_flood_the_log(guarded: App, caplog: pytest.LogCaptureFixture) -> None:
    """Row 27: a line a second at most, which says how many it stands for, and never a line for each."""
    async with grpc.aio.insecure_channel(str(guarded.listening)) as channel:
        call: Any = channel.unary_unary("/nasfeat.v1.FeatureService/GetModel")
        refused = 0
        while not (told := [record.message for record in caplog.records if "more since" in record.message]):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"")
            refused += 1
    lines = [record for record in caplog.records if record.message.startswith("refused")]
    assert (len(lines), refused > 2) == (2, True)
    assert told == [f"{lines[1].message.partition(';')[0]}; {refused - 2} more since the line before"]


async def test_the_right_token_is_let_through(guarded: App) -> None:
    """Row 27: calls and streams of who has it."""
    async with connected(guarded) as stub:
        request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)])
        response = await stub.ExtractFeatures(request, metadata=bearing(_TOKEN))
        assert response.results[0].HasField("features")
        call: Any = stub.StreamFeatures(metadata=(("authorization", f"bearer {_TOKEN}"),))
        await call.write(opening())
        assert (await call.read()).HasField("granted")
        call.cancel()
    assert metric(guarded, "nasfeat_tenant_frames_total", tenant="cameras") == 1


async def test_clients_without_a_certificate_of_the_authority_are_refused(tmp_path: Path) -> None:
    """Row 27: no certificate, one that has expired, one of another authority: the handshake fails, no call begins."""
    authority = Authority(tmp_path)
    async with running(security=authority.mutual) as app:
        strangers = (
            authority.trusting(),
            authority.client(expires_at=ago(hours=1)),
            authority.client(signed_by=trustme.CA()),
        )
        for tls in strangers:
            config = ClientConfig(tls=tls, retry=RetryConfig(max_attempts=1))
            async with AsyncFeatureClient(str(app.listening), config=config) as client:
                with pytest.raises(ServerUnavailableError):
                    await client.extract(b"an image")
        assert metric(app, "nasfeat_requests_total", method="ExtractFeatures", code="OK") == 0
        async with AsyncFeatureClient(str(app.listening), config=ClientConfig(tls=authority.client())) as client:
            assert (await client.model()).identity.name == "fake_nasnet_cifar"


async def test_a_server_is_not_trusted_beyond_its_certificate(tmp_path: Path) -> None:
    """Row 27: the SDK does not speak to a server of another authority, nor sends it the token."""
    authority, other = Authority(tmp_path), trustme.CA()
    tokens = write_tokens(tmp_path / "tokens.toml", {"cameras": ((_TOKEN,), {})})
    async with running(security=dataclasses.replace(authority.security, tokens=tokens)) as app:
        tls = dataclasses.replace(authority.trusting(), root_certificates=other.cert_pem.bytes())
        config = ClientConfig(tls=tls, token=_TOKEN, retry=RetryConfig(max_attempts=1))
        async with AsyncFeatureClient(str(app.listening), config=config) as client:
            with pytest.raises(ServerUnavailableError):
                await client.model()
        config = ClientConfig(tls=authority.trusting(), token=_TOKEN)
        async with AsyncFeatureClient(str(app.listening), config=config) as client:
            assert (await client.model()).identity.name == "fake_nasnet_cifar"
