"""The server's certificate over its renewals."""

import asyncio
import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credentials import Authority, ago, channel_to
from nasfeat_client import TlsConfig
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.rpc.credentials import server_credentials
from nasfeat_server.security.certificates import Certificate, TlsFiles, check_identity, expiry_warning

_NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority with a server's files."""
    return Authority(tmp_path)


def _files(authority: Authority) -> TlsFiles:
    return TlsFiles(certificate=authority.certificate, key=authority.key, client_ca=authority.clients)


def _contents(authority: Authority) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in _files(authority).paths)


def test_a_sound_one_is_taken_as_it_is(authority: Authority) -> None:
    """With the time of its end; the key is in no text that could be logged."""
    chain, key, clients = _contents(authority)
    found = check_identity((chain, key, clients), _NOW)
    assert (found.chain, found.key, found.client_ca) == (chain, key, clients)
    assert found.expires_at > _NOW
    assert "PRIVATE" not in repr(found)
    assert check_identity((chain, key), _NOW).client_ca is None


def test_everything_that_is_wrong_is_named_at_once(authority: Authority) -> None:
    """A chain that is none, a key that is none, authorities that are none; and nothing of what is in the key's file."""
    with pytest.raises(ConfigurationError) as caught:
        check_identity((b"no chain", b"SECRET", b"no authorities"), _NOW)
    message = str(caught.value)
    for complaint in ("the certificate cannot be read", "the key cannot be read", "the clients' authorities cannot"):
        assert complaint in message
    assert "SECRET" not in message


def test_a_key_of_another_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    """As while somebody replaces one file after the other."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="the key is not that of the certificate"):
        check_identity((authority.certificate.read_bytes(), other.key.read_bytes()), _NOW)


def _self_signed(key: Any) -> tuple[bytes, bytes]:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nasfeat.test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, _NOW - dt.timedelta(1), _NOW + dt.timedelta(9))
    chain = builder.sign(key, None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return chain.public_bytes(pem), private


@pytest.mark.parametrize(
    ("make", "taken"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), True),
        (lambda: ec.generate_private_key(ec.SECP256R1()), True),
        (lambda: ec.generate_private_key(ec.SECP384R1()), True),
        (lambda: rsa.generate_private_key(65537, 1024), False),  # noqa: S505 - it is refused
        (lambda: ec.generate_private_key(ec.SECP521R1()), False),
        (lambda: ec.generate_private_key(ec.SECP256K1()), False),
        (Ed25519PrivateKey.generate, False),
    ],
    ids=["RSA 2048", "P-256", "P-384", "RSA 1024", "P-521", "secp256k1", "Ed25519"],
)
async def test_a_key_that_no_handshake_survives_is_refused(
    make: Callable[[], Any], taken: bool, tmp_path: Path
) -> None:
    """The server would start with some of them, and each client fail; with those that are taken, clients connect."""
    chain, key = _self_signed(make())
    if not taken:
        with pytest.raises(
            ConfigurationError, match="the key is of a kind that gRPC's clients do not take: RSA of 2048"
        ):
            check_identity((chain, key), _NOW)
        return
    certificate = Certificate(_written(tmp_path, chain, key))
    certificate.load()
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", server_credentials(certificate))
    await server.start()
    tls = TlsConfig(root_certificates=chain, server_name="nasfeat.test")
    async with channel_to(f"127.0.0.1:{port}", tls) as channel:
        async with asyncio.timeout(30):
            await channel.channel_ready()
    await server.stop(None)


def _written(folder: Path, chain: bytes, key: bytes) -> TlsFiles:
    files = TlsFiles(certificate=folder / "own.pem", key=folder / "own.key")
    files.certificate.write_bytes(chain)
    files.key.write_bytes(key)
    return files


def test_an_encrypted_key_is_refused(authority: Authority) -> None:
    """There is nobody to ask."""
    key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    with pytest.raises(ConfigurationError, match="the key is encrypted"):
        check_identity((authority.certificate.read_bytes(), encrypted), _NOW)


def test_one_out_of_its_time_is_refused(authority: Authority) -> None:
    """Before and after."""
    contents = _contents(authority)
    with pytest.raises(ConfigurationError, match="is not valid before"):
        check_identity(contents, dt.datetime(1990, 1, 1, tzinfo=dt.UTC))
    authority.issue(expires_at=ago(days=1))
    with pytest.raises(ConfigurationError, match="the certificate expired on"):
        check_identity(_contents(authority), _NOW)


@pytest.mark.parametrize(
    ("left", "complaint"),
    [
        (dt.timedelta(days=8), None),
        (dt.timedelta(days=7), None),
        (dt.timedelta(days=6, hours=12), "expires on .*, in 6.5 days"),
        (dt.timedelta(0), "expired on .*: clients refuse this server"),
    ],
)
def test_the_last_days_are_told(left: dt.timedelta, complaint: str | None) -> None:
    """From a week before the end on."""
    warning = expiry_warning(_NOW + left, _NOW)
    if complaint is None:
        assert warning is None
    else:
        assert re.search(complaint, warning or "")


def test_the_warning_is_in_the_log_once_a_day(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """Not at every look."""
    authority.issue(expires_at=ago(days=-3))
    certificate = Certificate(_files(authority))
    certificate.load()
    for _ in range(3):
        certificate.refresh()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "in 3.0 days" in caplog.text


def test_a_broken_new_one_leaves_the_old_one_in_force(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """Told once, with the reason; when both files are right, the new one counts."""
    certificate = Certificate(_files(authority))
    old = certificate.load()
    chain = authority.certificate.read_bytes()
    authority.issue()
    new_chain = authority.certificate.read_bytes()
    authority.certificate.write_bytes(chain)
    for _ in range(3):
        assert certificate.refresh() is old
    (record,) = caplog.records
    assert "the one before stays in force" in record.message
    assert "the key is not that of the certificate" in record.message
    authority.certificate.write_bytes(new_chain)
    assert certificate.refresh().chain == new_chain


def test_a_missing_file_is_a_reason_not_to_start(authority: Authority) -> None:
    """The message names it."""
    authority.key.unlink()
    with pytest.raises(ConfigurationError, match=r"the certificate for TLS: .*server\.key"):
        Certificate(_files(authority)).load()
