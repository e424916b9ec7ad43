"""Who calls: tenants, known by their tokens, and what each has under way."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nasfeat_server.errors import ConfigurationError, NasfeatError, UnauthenticatedError
from nasfeat_server.security.accounts import Account, OwnAccount
from nasfeat_server.security.files import WatchedFiles
from nasfeat_server.security.tokens import Quota, TokenTable, parse_tokens

_log = logging.getLogger(__name__)

_SCHEME = "bearer"


class Tenant:
    """One tenant for as long as the file has it.

    Attributes:
        name: its name, a label of metrics.
        quota: what it may have.
        account: what it has under way.
        streams: how each of its open streams here is ended, and the hash of the token that opened it.
    """

    def __init__(self, name: str, quota: Quota, account: Account) -> None:
        """Start without streams."""
        self.name = name
        self.quota = quota
        self.account = account
        self.streams: dict[Callable[[NasfeatError], None], bytes] = {}

    def __repr__(self) -> str:
        """Show the name and what is under way."""
        return f"<Tenant {self.name} {self.account}>"

    def change(self, quota: Quota) -> None:
        """Give it another quota; streams that are open stay."""
        self.account.change(quota)
        self.quota = quota

    def end_revoked(self, table: TokenTable) -> None:
        """End the streams that were opened with tokens that are no longer this tenant's."""
        for stop, digest in tuple(self.streams.items()):
            if table.owners.get(digest) != self.name:
                stop(UnauthenticatedError("the token of this stream has been revoked", reason="revoked"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose a call is, and by which token."""

    tenant: Tenant
    digest: bytes

    @contextlib.asynccontextmanager
    async def stream(self, stop: Callable[[NasfeatError], None]) -> AsyncIterator[None]:
        """Count a stream of the tenant's for as long as the context lasts.

        Args:
            stop: ends the stream; called if its token is revoked.

        Raises:
            OverloadedError: the tenant has as many as it may.
        """
        tenant = self.tenant
        # Before anything is waited for: a token that is revoked meanwhile ends it as well.
        tenant.streams[stop] = self.digest
        try:
            await tenant.account.enter()
            try:
                yield
            finally:
                tenant.account.leave()
        finally:
            del tenant.streams[stop]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What one version of the file says; read by several threads, so that its parts must be of one version."""

    table: TokenTable
    tenants: Mapping[str, Tenant]


class Tenants:
    """The tenants of a file, which is read again when it changes.

    Args:
        path: the file; see `nasfeat_server.security.tokens`.
        open_account: where the account of a tenant is kept.
    """

    def __init__(self, path: Path, open_account: Callable[[str, Quota], Account] = OwnAccount) -> None:
        self._path = path
        self._open_account = open_account
        self._files = WatchedFiles((path,))
        self._known = _Known(table=TokenTable(quotas={}, owners={}), tenants={})

    @property
    def known(self) -> tuple[Tenant, ...]:
        """All of them."""
        return tuple(self._known.tenants.values())

    def find(self, name: str) -> Tenant | None:
        """Give the tenant of that name, of whom another process may have read a moment earlier."""
        if name not in self._known.tenants:
            self.refresh()
        return self._known.tenants.get(name)

    def load(self) -> None:
        """Read the file for the first time.

        Raises:
            ConfigurationError: it cannot be read, or something in it is wrong.
        """
        try:
            self._adopt(self._files.read_if_changed())
        except (OSError, ConfigurationError) as error:
            raise ConfigurationError(f"the tokens in {self._path}: {error}") from error

    def refresh(self) -> None:
        """Read the file again if it has changed; one that is broken changes nothing, and the log says why."""
        try:
            if self._adopt(self._files.read_if_changed()):
                _log.info(
                    "tokens: %d of %d tenants from %s", len(self._known.table.owners), len(self.known), self._path
                )
        except (OSError, ConfigurationError) as error:
            _log.error("tokens: those known before stay in force, since %s is broken: %s", self._path, error)

    def identify(self, authorizations: Sequence[str]) -> Caller:
        """Find out whose a call is; from any thread.

        Args:
            authorizations: the values of the call's `authorization`.

        Raises:
            UnauthenticatedError: nobody's who is known.
        """
        if not authorizations:
            raise UnauthenticatedError("send `authorization: Bearer TOKEN` with the call", reason="missing")
        scheme, _, token = authorizations[0].partition(" ")
        if len(authorizations) > 1 or scheme.lower() != _SCHEME or not token:
            raise UnauthenticatedError("`authorization` is not one `Bearer TOKEN`", reason="malformed")
        known = self._known
        digest = known.table.find(token.strip())
        if digest is None:
            raise UnauthenticatedError("the token is not known here", reason="unknown")
        return Caller(tenant=known.tenants[known.table.owners[digest]], digest=digest)

    def _adopt(self, contents: tuple[bytes, ...] | None) -> bool:
        if contents is None:
            return False
        table, before = parse_tokens(contents[0]), self._known.tenants
        tenants = {
            name: before.get(name) or Tenant(name, quota, self._open_account(name, quota))
            for name, quota in table.quotas.items()
        }
        self._known = _Known(table=table, tenants=tenants)
        for name, tenant in before.items():
            tenant.end_revoked(table)
            # One that is gone is done with what it has under way, and at once.
            tenant.change(table.quotas.get(name, Quota()))
        return True
