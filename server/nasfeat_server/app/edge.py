"""The side that clients see: one front end in this process, or what stands for many in processes of their own."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from nasfeat_server.app.facades import Parts, services_of
from nasfeat_server.app.generation import Generation
from nasfeat_server.app.guard import Guard
from nasfeat_server.config import Endpoint, ServerConfig
from nasfeat_server.rpc.answering import Answering
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.rpc.control import ServerState
from nasfeat_server.rpc.load import LoadReports
from nasfeat_server.rpc.open_streams import OpenStreams
from nasfeat_server.rpc.server import RpcServer
from nasfeat_server.rpc.servicer import FeatureServicer
from nasfeat_server.telemetry.events import ModelLabel, Observer
from nasfeat_server.telemetry.load import Load
from nasfeat_server.telemetry.traces import Tracer


class Edge(Protocol):
    """Takes calls."""

    @property
    def serving(self) -> bool:
        """Whether health checks are told to send work here."""
        ...

    @property
    def cache_bytes(self) -> int:
        """Results that other processes keep."""
        ...

    @property
    def cpu_s(self) -> float:
        """Processor seconds of other processes."""
        ...

    def bind(self) -> Endpoint:
        """Take the port.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        ...

    def arrange(self, places: Mapping[ModelLabel, Generation], share: float) -> None:
        """Serve these versions of the model under these labels from now on.

        Args:
            places: those that there are.
            share: the canary's, of new calls.
        """
        ...

    async def settled(self) -> None:
        """Return when all calls find what was arranged."""
        ...

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Answer calls from now on; something has been arranged by then.

        Args:
            tasks: where what this needs may live.
        """
        ...

    def set_serving(self, serving: bool) -> None:
        """Tell health checks whether to send work here."""
        ...

    def drain(self) -> None:
        """Take no new work, and tell health checks."""
        ...

    async def closed(self) -> bool:
        """Return True when no calls are taken any more, though nobody wanted that."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Wait up to `grace_s` for the calls under way, then cancel them."""
        ...


class FrontEnd:
    """Takes calls in this process.

    Args:
        config: the server's.
        guard: who may call; loaded.
        catalog: the versions of the model.
        observer: told of every call.
        load: how busy the whole server is.
        state: what the whole server serves, for the protocols of other servers.
        tracer: None traces nothing.
        shares_port: it is one of several.
    """

    cache_bytes = 0
    cpu_s = 0.0

    def __init__(
        self,
        config: ServerConfig,
        guard: Guard,
        catalog: Catalog,
        observer: Observer,
        *,
        load: Callable[[], Load],
        state: Callable[[], ServerState],
        tracer: Tracer | None = None,
        shares_port: bool = False,
    ) -> None:
        reports = LoadReports(load)
        self._streams = OpenStreams(limit=config.limits.max_streams, observer=observer)
        answering = Answering(observer=observer, load=reports)
        parts = Parts(catalog=catalog, limits=config.limits, answering=answering, streams=self._streams, state=state)
        self._rpc = RpcServer(
            listen=config.listen,
            limits=config.limits,
            connections=config.connections,
            observer=observer,
            load=reports,
            credentials=guard.credentials,
            authentication=guard.authentication,
            tracer=tracer,
            services=services_of(config.facades, parts),
            shares_port=shares_port,
        )
        self._servicer = FeatureServicer(
            catalog=catalog, limits=config.limits, answering=answering, streams=self._streams
        )
        self.bind = self._rpc.bind
        self.set_serving = self._rpc.set_serving
        self.closed = self._rpc.closed
        self.stop = self._rpc.stop

    @property
    def serving(self) -> bool:
        """Whether health checks are told to send work here."""
        return self._rpc.serving

    def arrange(self, *_: object) -> None:
        """Do nothing: calls find what is served in the catalog."""

    async def settled(self) -> None:
        """Return at once."""

    async def start(self, *_: object) -> None:
        """Answer calls from now on, with what is in the catalog."""
        await self._rpc.start(self._servicer)

    def drain(self) -> None:
        """Take no new work, and tell health checks."""
        self._rpc.stop_serving()
        self._streams.drain()
