"""The life of the server: what is started in which order, and stopped in reverse."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from cachetools import LRUCache

from nasfeat_server.app.facades import Parts, services_of
from nasfeat_server.app.generation import Common
from nasfeat_server.app.guard import Guard
from nasfeat_server.app.load import load_meter
from nasfeat_server.app.models import Models
from nasfeat_server.app.replicas import Site, site_of, sized
from nasfeat_server.app.tracing import tracing_of
from nasfeat_server.app.waiting import refusals_alone, unless
from nasfeat_server.app.web import Web
from nasfeat_server.config import Endpoint, ServerConfig
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.rpc.catalog import Catalog, Served
from nasfeat_server.rpc.control import ControlServer, ServerState
from nasfeat_server.rpc.load import LoadReports
from nasfeat_server.rpc.open_streams import OpenStreams
from nasfeat_server.rpc.server import RpcServer
from nasfeat_server.rpc.service import Service
from nasfeat_server.rpc.servicer import FeatureServicer
from nasfeat_server.scheduling.sharing import Key
from nasfeat_server.telemetry.fanout import Fanout
from nasfeat_server.telemetry.metrics_server import MetricsServer
from nasfeat_server.telemetry.prometheus import PrometheusObserver
from nasfeat_server.telemetry.rejections import RejectionLog
from nasfeat_server.telemetry.security_metrics import SecurityMetrics

_log = logging.getLogger(__name__)

# For spans that a collector has not taken when the server stops.
_FLUSH_S = 3.0


class App:
    """One running server.

    Attributes:
        config: what it was told.
        listening: where gRPC is served, the port filled in, once it is bound.
        metrics: where metrics are served, likewise.
        models: the versions of the model, once the server starts.
        ready: set when the server takes work.
    """

    def __init__(self, config: ServerConfig) -> None:
        """Keep the configuration; `run` does the work."""
        self.config = config
        self.listening: Endpoint | None = None
        self.metrics: Endpoint | None = None
        self.models: Models | None = None
        self.ready = asyncio.Event()
        self._metrics = PrometheusObserver()
        self._catalog = Catalog(config.model_alias)
        self._load = LoadReports(load_meter(config, self._catalog, self._metrics, self._is_warm))
        self._web = Web(config, self._catalog, self._metrics)
        self._tracing = tracing_of(config.tracing)
        tracing = (self._tracing,) if self._tracing else ()
        self._observer = Fanout(self._metrics, RejectionLog(), self._web.refusals, *tracing)
        self._streams = OpenStreams(limit=config.limits.max_streams, observer=self._observer)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish what is in flight.

        Raises:
            ConfigurationError: the server cannot start as it was told to.
        """
        config = self.config
        Site(config=config).placements()
        Framing.parse(config.crop)
        async with contextlib.AsyncExitStack() as stack:
            guard = Guard(config, self._observer)
            guard.load()
            self._metrics.registry.register(SecurityMetrics(guard.state))
            rpc = RpcServer(
                listen=config.listen,
                limits=config.limits,
                connections=config.connections,
                observer=self._observer,
                load=self._load,
                credentials=guard.credentials,
                authentication=guard.authentication,
                tracer=self._tracing,
                services=self._services(),
            )
            stack.push_async_callback(rpc.stop, 0)
            handler = self._web.handler(guard, rpc, lambda: self.models.state().models if self.models else ())
            self.metrics = stack.enter_context(MetricsServer(config.metrics, handler)).endpoint
            self.listening = rpc.bind()
            guard.give_up_rights()
            if self._tracing:
                self._metrics.registry.register(self._tracing.metrics)
                await stack.enter_async_context(self._tracing.exporting(min(_FLUSH_S, config.grace_s)))
            site = await stack.enter_async_context(site_of(config))
            changed = asyncio.Event()
            with self._common(site, changed.set) as common:
                async with refusals_alone(), asyncio.TaskGroup() as tasks:
                    models = self.models = Models(config, common, self._catalog, tasks)
                    self._watch(models, common, rpc)
                    self._web.desk.open(tasks)
                    parts = (_report_health(changed, models, rpc), guard.run())
                    background = [tasks.create_task(part) for part in parts]
                    await self._serve(models, rpc, stop)
                    await models.close()
                    for task in background:
                        task.cancel()

    def _services(self) -> tuple[Service, ...]:
        def state() -> ServerState:
            return self.models.state() if self.models else ServerState(models=(), loading="", ready=False)

        parts = Parts(
            catalog=self._catalog,
            limits=self.config.limits,
            observer=self._observer,
            streams=self._streams,
            state=state,
        )
        return services_of(self.config.facades, parts)

    def _is_warm(self, device: str) -> bool:
        return self.models is not None and self.models.is_warm(device)

    @contextlib.contextmanager
    def _common(self, site: Site, on_change: Callable[[], None]) -> Iterator[Common]:
        cache: LRUCache[Key, bytes] | None = None
        if self.config.cache_bytes:
            cache = LRUCache(self.config.cache_bytes, getsizeof=len)
        with ThreadPoolExecutor(_cores(), thread_name_prefix="decode") as decoders:
            yield Common(
                decoders=decoders,
                decoding_room=asyncio.Semaphore(2 * _cores()),
                cache=cache,
                observer=self._observer,
                site=site,
                on_change=on_change,
            )

    def _watch(self, models: Models, common: Common, rpc: RpcServer) -> None:
        cache, catalog = common.cache, self._catalog
        self._metrics.watch(
            devices=self.config.devices,
            is_warm=models.is_warm,
            is_ready=lambda: rpc.serving,
            capacity=lambda: sum(served.path.slots.capacity for served in catalog.served),
            depth=lambda: sum(served.path.dispatcher.depth for served in catalog.served),
            slots_in_use=lambda: sum(served.path.slots.in_use for served in catalog.served),
            cache_bytes=lambda: cache.currsize if cache is not None else 0,
        )

    async def _serve(self, models: Models, rpc: RpcServer, stop: asyncio.Event) -> None:
        served = await unless(stop, models.start())
        if served is None:
            return
        servicer = FeatureServicer(
            catalog=self._catalog,
            limits=self.config.limits,
            observer=self._observer,
            streams=self._streams,
            load=self._load,
        )
        async with contextlib.AsyncExitStack() as control:
            if self.config.control:
                await control.enter_async_context(ControlServer(self.config.control, models))
            await self._answer(rpc, servicer, served, stop)

    async def _answer(self, rpc: RpcServer, servicer: FeatureServicer, served: Served, stop: asyncio.Event) -> None:
        await rpc.start(servicer)
        self.ready.set()
        if self._web.has_page:
            _log.info("the status page is http://%s/", self.metrics)
        _log.info("serving %s on %s, metrics on %s", served.description.name, self.listening, self.metrics)
        if await unless(stop, rpc.closed()):
            # A server that nobody reaches is no server: whoever looks after this process starts it again.
            raise RuntimeError(f"gRPC has closed {self.listening} by itself")
        _log.info("stopping: no new work, up to %g s for what is in flight", self.config.grace_s)
        rpc.stop_serving()
        self._streams.drain()
        async with asyncio.TaskGroup() as ending:
            for end in (rpc.stop, self._web.desk.close):
                ending.create_task(end(self.config.grace_s))


async def _report_health(changed: asyncio.Event, models: Models, rpc: RpcServer) -> None:
    while True:
        await changed.wait()
        changed.clear()
        rpc.set_serving(models.any_warm)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


async def main(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: the server cannot start as it was told to.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await App(await sized(config)).run(stop)
    _log.info("stopped")
