"""How clients connect: TLS, tokens, compression, several connections."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
import trustme

from nasfeat.v1.feature_service_pb2_grpc import add_FeatureServiceServicer_to_server
from nasfeat_client import AsyncFeatureClient, ClientConfig, Compression, RetryConfig, ServerUnavailableError, TlsConfig
from nasfeat_client._fake import FakeServicer
from nasfeat_client._fake_script import Script, Seen, Served
from nasfeat_client._pool import Pool
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, fake_vector

_TOKEN = "a-token-of-mine"  # noqa: S105 - of nobody


class _Listener(grpc.aio.ServerInterceptor):
    """Notes what every call says beside its request."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, Any]] = []

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        self.metadata.append(dict(handler_call_details.invocation_metadata))
        return await continuation(handler_call_details)


class _Secured:
    """A server with a certificate of an authority of its own, which asks clients for theirs."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.listener = _Listener()
        self.target = ""

    async def start(self) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=(self.listener,))
        add_FeatureServiceServicer_to_server(
            FakeServicer(Served(model=FAKE_MODEL, script=Script(), seen=Seen())), server
        )
        own = self.authority.issue_cert("nasfeat.test", "localhost")
        pair = (own.private_key_pem.bytes(), b"".join(one.bytes() for one in own.cert_chain_pems))
        credentials = grpc.ssl_server_credentials([pair], self.authority.cert_pem.bytes(), require_client_auth=True)
        self.target = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
        await server.start()
        return server

    def tls(self, **changes: Any) -> TlsConfig:
        """Give what a client needs."""
        own = self.authority.issue_cert("client@nasfeat.test")
        given = {
            "root_certificates": self.authority.cert_pem.bytes(),
            "certificate_chain": b"".join(one.bytes() for one in own.cert_chain_pems),
            "private_key": own.private_key_pem.bytes(),
            "server_name": "nasfeat.test",
        }
        return TlsConfig(**given | changes)


@pytest.fixture
async def secured() -> AsyncIterator[_Secured]:
    """Run one."""
    found = _Secured()
    server = await found.start()
    yield found
    await server.stop(None)


async def test_tls_and_a_token_reach_the_server(secured: _Secured) -> None:
    """Both sides prove who they are, and every call has the token: unary ones and streams."""
    config = ClientConfig(tls=secured.tls(), token=_TOKEN)
    async with AsyncFeatureClient(secured.target, config=config) as client:
        assert (await client.model()).identity == FAKE_MODEL.identity
        await client.extract(b"a")
        await client.models()
        assert [result.ok async for result in client.stream([b"a", b"b"])] == [True, True]
    assert [metadata["authorization"] for metadata in secured.listener.metadata] == [f"Bearer {_TOKEN}"] * 4
    assert _TOKEN not in repr(config)
    assert "PRIVATE" not in repr(config)


async def test_a_name_is_who_the_certificate_is_for(secured: _Secured) -> None:
    """Looked up, the server is known by its address, which the certificate does not have."""
    port = secured.target.rpartition(":")[2]
    config = ClientConfig(tls=secured.tls(server_name=None), retry=RetryConfig(max_attempts=1))
    async with AsyncFeatureClient(f"dns:///localhost:{port}", config=config) as client:
        for _ in range(3):
            assert (await client.extract(b"a")).ok
    async with AsyncFeatureClient(f"ipv4:127.0.0.1:{port}", config=config) as client:
        with pytest.raises(ServerUnavailableError):
            await client.extract(b"a")


@pytest.mark.parametrize(
    "changes",
    [
        {"root_certificates": trustme.CA().cert_pem.bytes()},
        {"server_name": "other.test"},
        {"certificate_chain": None, "private_key": None},
    ],
)
async def test_who_is_not_trusted_is_not_spoken_to(secured: _Secured, changes: dict[str, Any]) -> None:
    """A server of another authority or name, and a client without a certificate."""
    config = ClientConfig(tls=secured.tls(**changes), token=_TOKEN, retry=RetryConfig(max_attempts=1))
    async with AsyncFeatureClient(secured.target, config=config) as client:
        with pytest.raises(ServerUnavailableError):
            await client.model()
    assert secured.listener.metadata == []


async def test_a_token_does_not_travel_in_the_clear() -> None:
    """It is refused before anything is sent, unless the target is on this machine."""
    with pytest.raises(ValueError, match=r"a token would travel to nasfeat\.example:50051 in the clear; use TLS"):
        AsyncFeatureClient(["localhost:1", "nasfeat.example:50051"], config=ClientConfig(token=_TOKEN))
    async with (
        FakeFeatureServer() as server,
        AsyncFeatureClient(server.target, config=ClientConfig(token=_TOKEN)) as client,
    ):
        assert (await client.extract(b"a")).ok


def test_half_a_certificate_is_refused() -> None:
    """A chain without its key."""
    with pytest.raises(ValueError, match="together or not at all"):
        TlsConfig(certificate_chain=b"chain")


@pytest.mark.parametrize("compression", list(Compression))
async def test_compressed_messages_are_understood(compression: Compression) -> None:
    """Whatever the way."""
    picture = np.zeros((64, 64, 3), np.uint8)
    async with (
        FakeFeatureServer() as server,
        AsyncFeatureClient(server.target, config=ClientConfig(compression=compression)) as client,
    ):
        np.testing.assert_array_equal((await client.extract(picture)).vector, fake_vector(picture))
        assert [result.ok async for result in client.stream([picture])] == [True]


async def test_streams_spread_over_connections() -> None:
    """Three streams at once take three connections, if there are so many."""
    peers = []

    class Noting(FakeServicer):
        async def StreamFeatures(  # type: ignore[override]  # noqa: N802
            self, request_iterator: Any, context: Any
        ) -> None:
            peers.append(context.peer())
            await super().StreamFeatures(request_iterator, context)

    server = grpc.aio.server()
    add_FeatureServiceServicer_to_server(Noting(Served(model=FAKE_MODEL, script=Script(), seen=Seen())), server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    for connections in (1, 3):
        peers.clear()
        async with AsyncFeatureClient(target, config=ClientConfig(connections=connections)) as client:
            streams = [client.open_stream() for _ in range(3)]
            await asyncio.gather(*(stream.__aenter__() for stream in streams))
            for stream in streams:
                await stream.aclose()
        assert len(set(peers)) == connections
    await server.stop(None)


def test_a_client_needs_a_connection() -> None:
    """And says it once for each server, however many it has."""
    with pytest.raises(ValueError, match="connections is 0"):
        ClientConfig(connections=0)
    assert str(Pool(["a:1", "b:1"], ClientConfig(connections=2))) == "a:1, b:1"


async def test_the_command_speaks_tls(secured: _Secured, tmp_path: Path) -> None:
    """With the files that its options name, and the token of another; what does not fit together is wrong usage."""
    tls = secured.tls()
    paths = {}
    for name, content in (
        ("ca", tls.root_certificates),
        ("cert", tls.certificate_chain),
        ("key", tls.private_key),
        ("token", f"{_TOKEN}\n".encode()),
    ):
        paths[name] = tmp_path / name
        paths[name].write_bytes(content or b"")
    target = secured.target.replace("127.0.0.1", "localhost")
    files = ["--tls-ca", paths["ca"], "--tls-cert", paths["cert"], "--tls-key", paths["key"]]

    async def model(*options: object) -> tuple[int | None, str]:
        program = (sys.executable, "-c", "from nasfeat_client.cli import run; run()")
        command = [*program, "model", "--target", target, *map(str, options)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        printed, complained = await process.communicate()
        return process.returncode, (printed + complained).decode()

    code, said = await model(*files, "--token-file", paths["token"], "--json")
    assert code == 0, said
    assert json.loads(said)["identity"]["name"] == "fake"
    assert secured.listener.metadata[-1]["authorization"] == f"Bearer {_TOKEN}"
    code, said = await model(*files[:4])
    assert (code, "--tls-cert and --tls-key are given together" in said) == (2, True)
    target = "nasfeat.example:1"
    code, said = await model("--token-file", paths["token"])
    assert (code, "a token would travel to nasfeat.example:1 in the clear" in said) == (2, True)
