"""What somebody who watches a server asks it: whether it serves."""

import contextlib
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Response = health_pb2.HealthCheckResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTls:
    """How the server is trusted, and the probe by it. All is PEM.

    Attributes:
        authorities: who may have signed the server's certificate; that certificate itself will do.
        certificate: the probe's own, for servers that ask for one; None without.
        key: its key; None without.
        server_name: the name in the server's certificate; None means the target's.
    """

    authorities: bytes
    certificate: bytes | None = None
    key: bytes | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What came of the question.

    Attributes:
        serving: whether the answer was SERVING.
        told: the status, or why there is none.
    """

    serving: bool
    told: str


def ask_health(target: str, service: str, *, timeout_s: float, tls: ProbeTls | None = None) -> Health:
    """Ask the server at `target` ("host:port") for the health of `service`; "" is the whole server.

    One that does not answer within `timeout_s` seconds, cannot be reached or does not know the name is not serving.
    """
    with contextlib.closing(_channel(target, tls)) as channel:
        # It makes its methods as it goes.
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.RpcError as error:
            # What a call raises is the call itself, which the types do not say.
            call: Any = error
            return Health(serving=False, told=f"{call.code().name}: {call.details()}")
    return Health(serving=answer.status == _Response.SERVING, told=_Response.ServingStatus.Name(answer.status))


def _channel(target: str, tls: ProbeTls | None) -> grpc.Channel:
    # A proxy of the environment's is for other machines.
    options: tuple[tuple[str, int | str], ...] = (("grpc.enable_http_proxy", 0),)
    if not tls:
        return grpc.insecure_channel(target, options)
    if tls.server_name:
        options = (*options, ("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(tls.authorities, tls.key, tls.certificate)
    return grpc.secure_channel(target, credentials, options)
