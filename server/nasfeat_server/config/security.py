"""Who may use the server."""

from dataclasses import dataclass
from pathlib import Path

from nasfeat_server.config.checks import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityConfig:
    """Who may use the server, and as whom it runs.

    Attributes:
        tls_certificate: the server's certificate and those between it and its authority, PEM; None speaks in the clear.
        tls_key: its private key, PEM.
        tls_client_ca: the authorities of clients' certificates, PEM; None asks clients for none.
        tokens: the file of tenants and their tokens; None lets everybody in.
        user: "NAME[:GROUP]", whom the process becomes once its ports are bound; None stays who it is.
        allow_root: serve other machines as root.
    """

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None
    user: str | None = None
    allow_root: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not belong together.

        Raises:
            ConfigurationError: the key, the certificate or both are missing.
        """
        refuse(
            (
                "tls_key" if self.tls_certificate else "tls_certificate",
                (self.tls_certificate is None) != (self.tls_key is None),
                "the certificate and the key of TLS are given together or not at all",
            ),
            (
                "tls_client_ca",
                bool(self.tls_client_ca and not self.tls_certificate),
                "clients can be asked for certificates only by a server that has one",
            ),
        )
