"""What is wrong with the files that an operator has named, before a server starts with them."""

import datetime as dt
import functools
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from nasfeat_server.config import SecurityConfig, ServerConfig
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.security import privileges
from nasfeat_server.security.certificates import Certificate, TlsFiles, expiry_warning
from nasfeat_server.security.privileges import Account
from nasfeat_server.security.tenants import Tenants


def problems(config: SecurityConfig) -> Iterator[tuple[str, str]]:
    """Look at every file and at the user; gives the field of what is wrong, and what is wrong with it."""
    if config.tls_certificate and config.tls_key:
        yield from _of_certificate(config.tls_certificate, config.tls_key, config.tls_client_ca)
        if complaint := readable_by_all(config.tls_key):
            yield "tls_key", complaint
    if config.tokens and (complaint := _complaint(Tenants(config.tokens).load)):
        yield "tokens", complaint
    if config.user and (complaint := _complaint(functools.partial(Account.find, config.user))):
        yield "user", complaint


def root_at_large(config: ServerConfig) -> str | None:
    """Say that somebody who may do everything would read strangers' images with C libraries, if it is so."""
    if not privileges.is_root() or config.security.user or config.security.allow_root:
        return None
    endpoints = {"gRPC": config.listen, "metrics": config.metrics}
    reachable = [f"{name} on {endpoint}" for name, endpoint in endpoints.items() if not endpoint.is_loopback]
    if not reachable:
        return None
    return (
        f"root would serve other machines ({', '.join(reachable)}): start it as another user, name one with "
        "--user, or say --allow-root"
    )


def readable_by_all(key: Path) -> str | None:
    """Say that a private key is no secret on its machine, if it is not."""
    try:
        mode = key.stat().st_mode
    except OSError:
        # Whoever reads it says so.
        return None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return f"every user of this machine may read or change the key {key} ({stat.filemode(mode)}): chmod 600"
    return None


def _of_certificate(certificate: Path, key: Path, client_ca: Path | None) -> Iterator[tuple[str, str]]:
    files = Certificate(TlsFiles(certificate=certificate, key=key, client_ca=client_ca))
    if complaint := _complaint(files.load):
        yield "tls_certificate", complaint
    elif warning := expiry_warning(files.identity.expires_at, dt.datetime.now(dt.UTC)):
        yield "tls_certificate", warning


def _complaint(load: Callable[[], object]) -> str | None:
    try:
        load()
    except ConfigurationError as error:
        return str(error)
    return None
