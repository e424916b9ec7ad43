"""Certificates and tokens for tests, as the files that operators have."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import trustme

from nasfeat_client import TlsConfig
from nasfeat_server.config import SecurityConfig
from nasfeat_server.security.tokens import written

SERVER_NAME = "nasfeat.test"


class Authority:
    """An authority of its own, and a server's files signed by it.

    Attributes:
        ca: the authority.
        security: the server's files, in `folder`; `issue` makes them.
    """

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.certificate, self.key, self.clients = (
            folder / name for name in ("server.pem", "server.key", "clients.pem")
        )
        self.clients.write_bytes(self.ca.cert_pem.bytes())
        self.issue()

    @property
    def security(self) -> SecurityConfig:
        """A server with a certificate."""
        return SecurityConfig(tls_certificate=self.certificate, tls_key=self.key)

    @property
    def mutual(self) -> SecurityConfig:
        """A server that asks clients for theirs, too."""
        return SecurityConfig(tls_certificate=self.certificate, tls_key=self.key, tls_client_ca=self.clients)

    def issue(self, *, expires_at: dt.datetime | None = None) -> None:
        """Replace the server's files by those of a new certificate."""
        own = self.ca.issue_cert(SERVER_NAME, "localhost", not_after=expires_at)
        self.key.write_bytes(own.private_key_pem.bytes())
        self.key.chmod(0o600)
        self.certificate.write_bytes(b"".join(one.bytes() for one in own.cert_chain_pems))

    def trusting(self) -> TlsConfig:
        """What a client needs that has no certificate."""
        return TlsConfig(root_certificates=self.ca.cert_pem.bytes(), server_name=SERVER_NAME)

    def client(self, *, signed_by: "trustme.CA | None" = None, expires_at: dt.datetime | None = None) -> TlsConfig:
        """What a client needs that has one."""
        own = (signed_by or self.ca).issue_cert("client@nasfeat.test", not_after=expires_at)
        return TlsConfig(
            root_certificates=self.ca.cert_pem.bytes(),
            certificate_chain=b"".join(one.bytes() for one in own.cert_chain_pems),
            private_key=own.private_key_pem.bytes(),
            server_name=SERVER_NAME,
        )


def ago(**durations: int) -> dt.datetime:
    """Give a moment before now."""
    return dt.datetime.now(dt.UTC) - dt.timedelta(**durations)


def channel_to(target: str, tls: TlsConfig) -> grpc.aio.Channel:
    """Connect without the SDK, on a connection of its own."""
    credentials = grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)
    options = (("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1))
    return grpc.aio.secure_channel(target, credentials, options=options)


def write_tokens(path: Path, tenants: Mapping[str, tuple[tuple[str, ...], Mapping[str, Any]]]) -> Path:
    """Write a file of tenants: the tokens and the settings of each, by its name."""
    lines = []
    for name, (tokens, settings) in tenants.items():
        lines += [f"[tenants.{name}]", f"tokens = {[written(token) for token in tokens]}"]
        lines += [f"{key} = {value!r}" for key, value in settings.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def bearing(token: str) -> tuple[tuple[str, str], ...]:
    """Give the metadata of a call with `token`."""
    return (("authorization", f"Bearer {token}"),)
