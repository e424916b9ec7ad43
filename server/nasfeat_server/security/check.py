"""What is wrong with the files that an operator has named, before a server starts with them."""

import datetime as dt
import functools
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from nasfeat_server.config import SecurityConfig
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.security.certificates import Certificate, TlsFiles, expiry_warning
from nasfeat_server.security.privileges import Account
from nasfeat_server.security.tenants import Tenants


def problems(config: SecurityConfig) -> tuple[str, ...]:
    """Look at every file and at the user; gives what is wrong, each with what it is about."""
    return tuple(_problems(config))


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


def _problems(config: SecurityConfig) -> Iterator[str]:
    if config.tls_certificate and config.tls_key:
        files = TlsFiles(certificate=config.tls_certificate, key=config.tls_key, client_ca=config.tls_client_ca)
        certificate = Certificate(files)
        complaint = _complaint(certificate.load)
        if complaint:
            yield complaint
        elif warning := expiry_warning(certificate.identity.expires_at, dt.datetime.now(dt.UTC)):
            yield warning
        if complaint := readable_by_all(config.tls_key):
            yield complaint
    if config.tokens and (complaint := _complaint(Tenants(config.tokens).load)):
        yield complaint
    if config.user and (complaint := _complaint(functools.partial(Account.find, config.user))):
        yield complaint


def _complaint(load: Callable[[], object]) -> str | None:
    try:
        load()
    except ConfigurationError as error:
        return str(error)
    return None
