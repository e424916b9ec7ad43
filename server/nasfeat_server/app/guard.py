"""Who may use the server, and as whom it runs: loaded at the start, and watched from then on."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from nasfeat_server.config import ServerConfig
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.rpc.authentication import AuthenticationInterceptor
from nasfeat_server.rpc.credentials import ServerCredentials, server_credentials
from nasfeat_server.security import privileges
from nasfeat_server.security.accounts import Account, OwnAccount
from nasfeat_server.security.certificates import Certificate, TlsFiles
from nasfeat_server.security.check import readable_by_all, root_at_large
from nasfeat_server.security.tenants import Tenant, Tenants
from nasfeat_server.security.tokens import Quota
from nasfeat_server.telemetry.events import Observer
from nasfeat_server.telemetry.security_metrics import SecurityState, TenantState

_log = logging.getLogger(__name__)

_PERIOD_S = 1.0


class Guard:
    """What stands between the port and strangers, as far as it is configured.

    Args:
        config: says which files there are.
        observer: told of refused calls.
        open_account: where the accounts of tenants are kept.

    Attributes:
        credentials: TLS, once it is loaded; None without.
        authentication: asks calls for tokens; None lets all in.
    """

    def __init__(
        self,
        config: ServerConfig,
        observer: Observer,
        open_account: Callable[[str, Quota], Account] = OwnAccount,
    ) -> None:
        self._config = config
        security = self._security = config.security
        self._account = privileges.Account.find(security.user) if security.user else None
        self._certificate: Certificate | None = None
        if security.tls_certificate and security.tls_key:
            self._certificate = Certificate(
                TlsFiles(certificate=security.tls_certificate, key=security.tls_key, client_ca=security.tls_client_ca)
            )
        self._tenants = Tenants(security.tokens, open_account) if security.tokens else None
        self.credentials: ServerCredentials | None = None
        self.authentication = AuthenticationInterceptor(self._tenants, observer) if self._tenants else None

    def load(self) -> None:
        """Read the files, and say what is dangerous.

        Raises:
            ConfigurationError: a file cannot be used, or root would serve other machines.
        """
        if refusal := root_at_large(self._config):
            raise ConfigurationError(refusal)
        if self._certificate:
            self._certificate.load()
            if self._security.tls_key and (complaint := readable_by_all(self._security.tls_key)):
                _log.warning("%s", complaint)
            self.credentials = server_credentials(self._certificate)
        elif not self._config.listen.is_loopback:
            with_tokens = ", the tokens too" if self._tenants else ""
            _log.warning("no TLS: everything travels in the clear%s, unless a proxy sees to it", with_tokens)
        if self._tenants:
            self._tenants.load()

    def give_up_rights(self) -> None:
        """Become the user that was named, now that the ports are bound.

        Raises:
            ConfigurationError: that is not possible, or that user cannot read the files again when they change.
        """
        if not self._account:
            return
        privileges.become(self._account)
        _log.info("the process is now user %s (%d:%d)", self._account.name, self._account.uid, self._account.gid)
        for path in self._files():
            try:
                path.open("rb").close()
            except OSError as error:
                raise ConfigurationError(
                    f"user {self._account.name} must read {path} when it changes: {error}"
                ) from error

    async def run(self) -> None:
        """Look once a second whether a file has changed, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.refresh()

    def refresh(self) -> None:
        """Look whether a file has changed."""
        if self._certificate:
            self._certificate.refresh()
        if self._tenants:
            self._tenants.refresh()

    def account(self, name: str) -> OwnAccount | None:
        """Give the account of a tenant, if it is kept here."""
        tenant = self._tenants.find(name) if self._tenants else None
        return _kept(tenant) if tenant else None

    def take_failures(self) -> Mapping[str, int]:
        """Give what `heard` of another process is to count: calls refused since the last time, by reason."""
        return self.authentication.take_failures() if self.authentication else {}

    def heard(self, failures: Mapping[str, int]) -> None:
        """Count calls that another process has refused, by reason."""
        if self.authentication:
            self.authentication.failures.update(failures)

    def state(self) -> SecurityState:
        """Tell what there is to tell in metrics."""
        tenants = self._tenants.known if self._tenants else ()
        kept = [(tenant.name, account) for tenant in tenants if (account := _kept(tenant))]
        return SecurityState(
            failures=self.authentication.failures.copy() if self.authentication else None,
            tenants=[
                TenantState(
                    name=name,
                    frames=account.meter.admitted,
                    throttled=account.meter.held_back,
                    streams=account.streams,
                )
                for name, account in kept
            ],
            certificate_expiry=self._certificate.identity.expires_at.timestamp() if self._certificate else None,
        )

    def _files(self) -> list[Path]:
        security = self._security
        named = (security.tls_certificate, security.tls_key, security.tls_client_ca, security.tokens)
        return [path for path in named if path]


def _kept(tenant: Tenant) -> OwnAccount | None:
    """Give the account of `tenant`, if it is kept in this process."""
    return tenant.account if isinstance(tenant.account, OwnAccount) else None
