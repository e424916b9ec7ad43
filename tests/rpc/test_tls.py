"""TLS on the port: certificates that are replaced while the server serves."""

import asyncio
import dataclasses
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest

from credentials import Authority, ago, bearing, channel_to, write_tokens
from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from nasfeat_server.app import App
from nasfeat_server.config import SecurityConfig
from nasfeat_server.errors import ConfigurationError
from serving import FAKE, frame, metric, next_result, opening, running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority with a server's files."""
    return Authority(tmp_path)


async def _shown(app: App) -> bytes:
    """Connect anew, and give the certificate that the server shows, DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = str(app.listening).rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


def _issued(authority: Authority) -> bytes:
    return ssl.PEM_cert_to_DER_cert(_first_of(authority.certificate.read_text()))


def _first_of(chain: str) -> str:
    """Give the first certificate of a PEM text."""
    end = "-----END CERTIFICATE-----"
    return chain[: chain.index(end) + len(end)]


async def test_a_new_certificate_is_shown_to_new_connections(authority: Authority) -> None:
    """Without a restart; a stream that is open goes on, and the metric tells the new end."""
    async with (
        running(security=authority.security) as app,
        channel_to(str(app.listening), authority.trusting()) as channel,
    ):
        call: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        await call.write(opening())
        assert (await call.read()).HasField("granted")
        assert await _shown(app) == _issued(authority)
        expires_at = ago(days=-30).replace(microsecond=0)
        authority.issue(expires_at=expires_at)
        assert await _shown(app) == _issued(authority)
        assert metric(app, "nasfeat_certificate_expiry_timestamp_seconds") == expires_at.timestamp()
        for number in range(10):
            await call.write(frame(number))
            assert (await next_result(call)) is not None
        call.cancel()


async def test_a_broken_new_certificate_leaves_the_old_one(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """New connections get the one before; the log says what is wrong, and not what is in the key's file."""
    async with running(security=authority.security) as app:
        before = _issued(authority)
        authority.issue()
        authority.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nSECRET\n")
        for _ in range(3):
            assert await _shown(app) == before
        async with channel_to(str(app.listening), authority.trusting()) as channel:
            stub: Any = feature_service_pb2_grpc.FeatureServiceStub(channel)
            assert (await stub.GetModel(feature_service_pb2.GetModelRequest())).HasField("model")
    complaints = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(complaints) == 1
    assert "the key cannot be read" in complaints[0]
    assert "SECRET" not in caplog.text


async def test_new_authorities_of_clients_count_too(authority: Authority, tmp_path: Path) -> None:
    """A client whose authority is added is let in from then on."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    newcomer = authority.client(signed_by=other.ca)
    async with running(security=authority.mutual) as app:
        authority.clients.write_bytes(authority.ca.cert_pem.bytes() + other.ca.cert_pem.bytes())
        for tls in (newcomer, authority.client()):
            async with channel_to(str(app.listening), tls) as channel:
                stub: Any = feature_service_pb2_grpc.FeatureServiceStub(channel)
                assert (await stub.GetModel(feature_service_pb2.GetModelRequest())).HasField("model")


async def test_tokens_are_watched_while_the_server_runs(authority: Authority, tmp_path: Path) -> None:
    """A new token is good, and the stream of a revoked one ends with UNAUTHENTICATED, its frames answered."""
    path = write_tokens(tmp_path / "tokens.toml", {"a": (("old",), {})})
    security = SecurityConfig(tls_certificate=authority.certificate, tls_key=authority.key, tokens=path)
    async with (
        running(security=security) as app,
        channel_to(str(app.listening), authority.trusting()) as channel,
    ):
        stub: Any = feature_service_pb2_grpc.FeatureServiceStub(channel)
        call: Any = stub.StreamFeatures(metadata=bearing("old"))
        await call.write(opening())
        await call.write(frame(0))
        assert await next_result(call)
        assert metric(app, "nasfeat_tenant_streams", tenant="a") == 1
        write_tokens(path, {"a": (("new",), {})})
        with pytest.raises(Exception, match="the token of this stream has been revoked"):
            await next_result(call)
        assert (await stub.GetModel(feature_service_pb2.GetModelRequest(), metadata=bearing("new"))).HasField("model")
        assert metric(app, "nasfeat_tenant_streams", tenant="a") == 0


async def test_without_files_there_are_no_metrics_of_them() -> None:
    """And no interceptor asks for anything."""
    async with running() as app:
        names = {family.name for family in app._metrics.registry.collect()}
    assert {name for name in names if "tenant" in name or "auth" in name or "certificate" in name} == set()


def _speaking(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    # Without which this side would refuse by itself.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    return context


async def test_old_versions_of_tls_are_refused(authority: Authority) -> None:
    """1.1 and before, by the server; 1.2 is spoken."""
    async with running(security=authority.security) as app:
        host, _, port = str(app.listening).rpartition(":")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection(host, int(port), ssl=_speaking(ssl.TLSVersion.TLSv1_1))
        _, writer = await asyncio.open_connection(host, int(port), ssl=_speaking(ssl.TLSVersion.TLSv1_2))
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        writer.close()


async def test_a_server_does_not_start_with_a_certificate_that_nobody_takes(authority: Authority) -> None:
    """One that has expired."""
    authority.issue(expires_at=ago(days=1))
    with pytest.raises(ConfigurationError, match="the certificate for TLS: the certificate expired"):
        await App(dataclasses.replace(FAKE, security=authority.security)).run(asyncio.Event())
