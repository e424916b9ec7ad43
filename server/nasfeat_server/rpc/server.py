"""The gRPC server around the servicer: limits, keepalive, health and reflection."""

import asyncio
import math
from collections.abc import Iterator, Sequence

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from nasfeat_server.config import ConnectionLimits, Endpoint, RequestLimits
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.rpc.authentication import AuthenticationInterceptor
from nasfeat_server.rpc.calls import CallsInterceptor
from nasfeat_server.rpc.health import HealthServicer
from nasfeat_server.rpc.load import LoadReports
from nasfeat_server.rpc.malformed import MalformedInterceptor
from nasfeat_server.rpc.payload import ReceiveInterceptor
from nasfeat_server.rpc.reflection import described
from nasfeat_server.rpc.service import Service
from nasfeat_server.rpc.servicer import FeatureServicer
from nasfeat_server.rpc.taking import make_server
from nasfeat_server.rpc.tracing import TracingInterceptor
from nasfeat_server.telemetry.events import Observer
from nasfeat_server.telemetry.traces import Tracer

# For whoever restarts a server that is stuck; one whose replicas are being restarted is not.
LIVENESS = "liveness"
SERVICE = feature_service_pb2.DESCRIPTOR.services_by_name["FeatureService"].full_name


class RpcServer:
    """The listening end: bound when made ready, open when started.

    Args:
        listen: where to listen.
        limits: decides the largest message.
        connections: how long they may last.
        credentials: TLS; None speaks in the clear.
        observer: told of every call.
        authentication: lets calls through; None lets all.
        tracer: decides which of those are traced; None traces none.
        services: what is served beside FeatureService.
        load: tells how busy the server is, whoever asks.
        shares_port: other processes of this server listen there too.
    """

    def __init__(  # noqa: PLR0913 - what a server is made of
        self,
        *,
        listen: Endpoint,
        limits: RequestLimits,
        connections: ConnectionLimits,
        observer: Observer,
        load: LoadReports,
        credentials: grpc.ServerCredentials | None = None,
        authentication: AuthenticationInterceptor | None = None,
        tracer: Tracer | None = None,
        services: Sequence[Service] = (),
        shares_port: bool = False,
    ) -> None:
        self._listen = listen
        self._credentials = credentials
        self._services = services
        self._health = HealthServicer()
        self._load = load
        self._started = False
        self._has_replicas = False
        self._stopping = False
        others = {method: kind for service in services for method, kind in service.kinds.items()}
        if authentication:
            authentication.count(others)
        kinds = {**others, **load.service.kinds}
        # Who is not known goes before anything else is done for the call, but is counted.
        interceptors = (
            CallsInterceptor(methods=(*_methods(), *kinds), observer=observer),
            *((authentication,) if authentication else ()),
            *((TracingInterceptor(tracer, others),) if tracer else ()),
            MalformedInterceptor(observer, kinds),
            ReceiveInterceptor(),
        )
        # Two servers on one port would share its clients by chance.
        self._server = make_server(
            (*_options(limits), ("grpc.so_reuseport", int(shares_port)), *_connection_options(connections)),
            interceptors,
        )

    @property
    def serving(self) -> bool:
        """Whether health checks are told to send work here."""
        return self._started and self._has_replicas and not self._stopping

    def bind(self) -> Endpoint:
        """Take the port, so that a port in use is found before any weights are loaded.

        Returns:
            Where the server will listen, the port filled in.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        try:
            port = (
                self._server.add_secure_port(str(self._listen), self._credentials)
                if self._credentials
                else self._server.add_insecure_port(str(self._listen))
            )
        except RuntimeError as error:
            raise ConfigurationError(f"cannot listen on {self._listen}: is the port in use? ({error})") from error
        return Endpoint(host=self._listen.host, port=port)

    async def start(self, servicer: FeatureServicer) -> None:
        """Answer calls from now on."""
        feature_service_pb2_grpc.add_FeatureServiceServicer_to_server(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for service in (*self._services, self._load.service):
            _add(service, self._server)
        own = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        names = (*own, *(service.name for service in self._services))
        reflection.enable_server_reflection(names, self._server, described(own, self._services))
        for name in (LIVENESS, health.SERVICE_NAME, reflection.SERVICE_NAME):
            self._health.set(name, serving=True)
        await self._server.start()
        self._started = True

    def set_serving(self, serving: bool) -> None:
        """Tell health checks, for the whole server and for each service of images, whether to send work here."""
        self._has_replicas = serving
        for name in ("", SERVICE, *(service.name for service in self._services)):
            self._health.set(name, serving=serving)

    def stop_serving(self) -> None:
        """Tell health checks once and for all that no work should come here."""
        self._stopping = True
        self._health.stop()
        self._load.stop()

    async def closed(self) -> bool:
        """Return True when gRPC has ended, whatever for.

        Raises:
            Exception: what ended it, if nobody wanted it to.
        """
        # Shielded, since gRPC takes the end of who waits for an end of its own.
        await asyncio.shield(self._server.wait_for_termination())
        return True

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls at once and wait up to `grace_s` for those under way, then cancel them."""
        await self._server.stop(grace_s)


def _add(service: Service, server: grpc.aio.Server) -> None:
    """Do what generated code does, under the service's own name."""
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.name, dict(service.handlers)),))
    server.add_registered_method_handlers(service.name, dict(service.handlers))


def _methods() -> Iterator[str]:
    for file in (feature_service_pb2, health_pb2, reflection_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from (f"{service.full_name}/{method.name}" for method in service.methods)


def _options(limits: RequestLimits) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        # Clients may ping an idle connection every 5 seconds without being sent away.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    )


def _connection_options(limits: ConnectionLimits) -> tuple[tuple[str, int], ...]:
    """Say how long connections last; a time that is 0 is left out, and means for ever."""
    times = (
        ("grpc.max_connection_age_ms", limits.max_age_s),
        ("grpc.max_connection_age_grace_ms", limits.age_grace_s if limits.max_age_s else 0.0),
        ("grpc.max_connection_idle_ms", limits.max_idle_s),
    )
    return (
        *((name, math.ceil(seconds * 1000)) for name, seconds in times if seconds),
        ("grpc.max_concurrent_streams", limits.max_calls),
        # A peer that is gone without a word is found out within both together.
        ("grpc.keepalive_time_ms", math.ceil(limits.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", math.ceil(limits.keepalive_timeout_s * 1000)),
        # Who connects and then says nothing is let go; the default is two minutes.
        ("grpc.server_handshake_timeout_ms", 20_000),
    )
