"""TLS for gRPC, with a certificate that may change while the server runs."""

import grpc
from grpc import ServerCredentials

from nasfeat_server.security.certificates import Certificate, Identity

__all__ = ["ServerCredentials", "server_credentials"]


def server_credentials(certificate: Certificate) -> ServerCredentials:
    """Give credentials that ask `certificate` for its newest identity at every handshake.

    Connections that are open live on. Clients are asked for certificates if it has authorities for them at the start.
    """
    current = certificate.identity
    given = current

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC's threads. It must not raise: the handshake would fail.
        nonlocal given
        newest = certificate.refresh()
        if newest is given:
            return None
        given = newest
        return _configuration(newest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(current),
        fetch,  # type: ignore[arg-type] # None, which says that nothing has changed, is missing in the types
        require_client_authentication=current.client_ca is not None,
    )


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(identity.key, identity.chain)], identity.client_ca)
