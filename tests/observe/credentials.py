"""Keys, a certificate and tokens for one run, made as it starts and good for nothing else."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from nasfeat_client import ClientConfig, ResumeConfig, RetryConfig, TlsConfig
from nasfeat_server.security.tokens import new_token, written

CAMERAS, ARCHIVE = "cameras", "archive"
# Soon enough that the alert on it has something to say.
_GOOD_FOR = timedelta(days=10)
_QUOTAS = {CAMERAS: "", ARCHIVE: "frames_per_second = 20\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What both sides need to trust each other.

    Attributes:
        options: the server's.
        authority: who signed its certificate, PEM.
        tokens: of the tenants, by name.
    """

    options: tuple[str, ...]
    authority: bytes
    tokens: dict[str, str]

    def client(self, token: str | None) -> ClientConfig:
        """Configure a client that shows `token`, and takes every refusal as it comes."""
        return ClientConfig(
            tls=TlsConfig(root_certificates=self.authority),
            token=token,
            retry=RetryConfig(max_attempts=1),
            resume=ResumeConfig(other_versions=True),
            call_timeout_s=5.0,
        )


def make_credentials(folder: Path) -> Credentials:
    """Make them, with the server's files in `folder`."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + _GOOD_FOR)
    chain, key, tenants = (folder / name for name in ("server.pem", "server.key", "tenants.toml"))
    certificate.private_key_pem.write_to_path(key)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    tokens = {tenant: new_token() for tenant in _QUOTAS}
    tenants.write_text(
        "".join(f'[tenants.{name}]\ntokens = ["{written(tokens[name])}"]\n{_QUOTAS[name]}' for name in tokens)
    )
    for path in (key, tenants):
        path.chmod(0o600)
    options = ("--tls-cert", str(chain), "--tls-key", str(key), "--tokens", str(tenants))
    return Credentials(options=options, authority=authority.cert_pem.bytes(), tokens=tokens)
