"""The server's certificate: read, checked, and read again when its files change."""

import datetime as dt
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.security.files import WatchedFiles

if TYPE_CHECKING:
    from cryptography import x509

_log = logging.getLogger(__name__)

_SMALLEST_RSA = 2048
_WARNED_BEFORE = dt.timedelta(days=7)
_WARNED_EVERY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where the parts are, all PEM.

    Attributes:
        certificate: the server's own certificate first, then those between it and its authority.
        key: its private key, not encrypted.
        client_ca: the authorities of clients' certificates; None asks clients for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that there are."""
        return (self.certificate, self.key, *((self.client_ca,) if self.client_ca else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate that was found sound, with its key.

    Attributes:
        chain: the certificates, PEM.
        key: the private key, PEM.
        client_ca: the authorities of clients, PEM; None asks clients for no certificate.
        expires_at: from when on no client takes it.
    """

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    expires_at: dt.datetime


def check_identity(contents: tuple[bytes, ...], now: dt.datetime) -> Identity:
    """Make sure that clients can take a server for whom it says it is.

    Args:
        contents: the chain, the key and, if clients are to have certificates, their authorities.
        now: with its time zone.

    Raises:
        ConfigurationError: names everything that is wrong with them.
    """
    # Only where there is TLS: it takes a tenth of a second and some megabytes.
    from cryptography import x509  # noqa: PLC0415

    chain, key, *client_ca = contents
    wrong = []
    own = None
    try:
        own = x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        wrong.append(f"the certificate cannot be read: {error}")
    wrong += _wrong_key(key, own)
    if own:
        wrong += _wrong_time(own, now)
    try:
        for authorities in client_ca:
            x509.load_pem_x509_certificates(authorities)
    except ValueError as error:
        wrong.append(f"the clients' authorities cannot be read: {error}")
    if wrong or not own:
        raise ConfigurationError("; ".join(wrong))
    return Identity(
        chain=chain, key=key, client_ca=client_ca[0] if client_ca else None, expires_at=own.not_valid_after_utc
    )


def _wrong_key(key: bytes, own: "x509.Certificate | None") -> list[str]:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see check_identity
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        return ["the key is encrypted; the server has nobody to ask for a password"]
    except (ValueError, UnsupportedAlgorithm):
        # Nothing of what the library says: it is about what stands in the file.
        return ["the key cannot be read: it is no private key in PEM"]
    if not _is_taken(private):
        return [
            "the key is of a kind that gRPC's clients do not take: RSA of 2048 bits or more, or EC on P-256 or P-384"
        ]
    try:
        matches = own is None or private.public_key() == own.public_key()
    except (ValueError, UnsupportedAlgorithm):
        # Of a kind that the library does not know, so that it is not the key's.
        matches = False
    return [] if matches else ["the key is not that of the certificate"]


def _is_taken(private: object) -> bool:
    """Tell whether a handshake with this key can succeed: gRPC's clients offer no others."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415 - see check_identity

    if isinstance(private, rsa.RSAPrivateKey):
        return private.key_size >= _SMALLEST_RSA
    return isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1 | ec.SECP384R1)


def _wrong_time(own: "x509.Certificate", now: dt.datetime) -> list[str]:
    if now >= own.not_valid_after_utc:
        return [f"the certificate expired on {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"]
    if now < own.not_valid_before_utc:
        return [f"the certificate is not valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"]
    return []


def expiry_warning(expires_at: dt.datetime, now: dt.datetime) -> str | None:
    """Say how little time there is left to renew a certificate; None while that is a week or more."""
    left = expires_at - now
    if left >= _WARNED_BEFORE:
        return None
    if left <= dt.timedelta(0):
        return f"the certificate expired on {expires_at:%Y-%m-%d %H:%M} UTC: clients refuse this server"
    return f"the certificate expires on {expires_at:%Y-%m-%d %H:%M} UTC, in {left / dt.timedelta(days=1):.1f} days"


class Certificate:
    """The server's certificate in force. May be used by several threads.

    Args:
        files: where it is.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = WatchedFiles(files.paths)
        self._lock = threading.Lock()
        self._identity: Identity | None = None
        self._warned_at: dt.datetime | None = None

    @property
    def identity(self) -> Identity:
        """What was loaded last and is sound."""
        if self._identity is None:
            raise AssertionError("it is loaded first")
        return self._identity

    def load(self) -> Identity:
        """Read it for the first time.

        Raises:
            ConfigurationError: a file cannot be read, or something is wrong with one.
        """
        try:
            self._read()
        except (OSError, ConfigurationError) as error:
            raise ConfigurationError(f"the certificate for TLS: {error}") from error
        return self.identity

    def refresh(self) -> Identity:
        """Read it again if its files have changed; a broken one changes nothing, and the log says why."""
        with self._lock:
            try:
                if self._read():
                    _log.info("certificate: a new one is in force, until %s", self.identity.expires_at)
            except (OSError, ConfigurationError) as error:
                _log.error("certificate: the one before stays in force, since the new one is broken: %s", error)
            self._warn(_now())
            return self.identity

    def _read(self) -> bool:
        contents = self._files.read_if_changed()
        if contents is None:
            return False
        try:
            self._identity = check_identity(contents, _now())
        except ValueError as error:
            # Well-formed PEM around something odd, found only as it is looked at.
            raise ConfigurationError(f"the certificate cannot be read: {error}") from error
        self._warned_at = None
        return True

    def _warn(self, now: dt.datetime) -> None:
        warning = expiry_warning(self.identity.expires_at, now)
        if warning and (self._warned_at is None or now - self._warned_at >= _WARNED_EVERY):
            _log.warning("%s", warning)
            self._warned_at = now


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
