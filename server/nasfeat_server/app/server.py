"""The life of the server: what is started in which order, and stopped in reverse."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Coroutine
from typing import Any

from nasfeat_server.app import serving
from nasfeat_server.app.edge import Edge, FrontEnd
from nasfeat_server.app.front_ends.group import FrontEnds
from nasfeat_server.app.guard import Guard
from nasfeat_server.app.load import load_meter
from nasfeat_server.app.models import Models
from nasfeat_server.app.replicas import Site, site_of, sized
from nasfeat_server.app.serving import Common
from nasfeat_server.app.tracing import FLUSH_S, check_installed, tracing_of
from nasfeat_server.app.waiting import refusals_alone, unless
from nasfeat_server.app.web import Web
from nasfeat_server.config import Endpoint, ServerConfig
from nasfeat_server.engine.cores import Cores, usable_cores
from nasfeat_server.engine.interface import ModelDescription
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.rpc.control import ControlServer, ServerState
from nasfeat_server.telemetry.fanout import Fanout
from nasfeat_server.telemetry.metrics_server import MetricsServer
from nasfeat_server.telemetry.prometheus import PrometheusObserver
from nasfeat_server.telemetry.rejections import RejectionLog
from nasfeat_server.telemetry.security_metrics import SecurityMetrics
from nasfeat_server.telemetry.tracing_metrics import TracingMetrics

_log = logging.getLogger(__name__)


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
        self._front: Edge | None = None
        self._load = load_meter(config, self._catalog, self._metrics, self._is_warm, cpu_clock=self._cpu_s)
        self._web = Web(config, self._catalog, self._metrics)
        # Of several front ends each traces its calls by itself.
        self._tracing = tracing_of(config.tracing) if config.front_ends == 1 else None
        tracing = (self._tracing,) if self._tracing else ()
        self._observer = Fanout(self._metrics, RejectionLog(), self._web.refusals, *tracing)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish what is in flight.

        Raises:
            ConfigurationError: the server cannot start as it was told to.
        """
        config = self.config
        _tell_limit(usable_cores())
        Site(config=config).placements()
        Framing.parse(config.crop)
        async with contextlib.AsyncExitStack() as stack:
            guard = Guard(config, self._observer)
            guard.load()
            self._metrics.registry.register(SecurityMetrics(guard.state))
            edge = self._front = self._edge(guard)
            stack.push_async_callback(edge.stop, 0)
            handler = self._web.handler(guard, edge, lambda: self.models.state().models if self.models else ())
            self.metrics = stack.enter_context(MetricsServer(config.metrics, handler)).endpoint
            self.listening = edge.bind()
            guard.give_up_rights()
            if self._tracing:
                self._metrics.registry.register(TracingMetrics(self._tracing.counts))
                await stack.enter_async_context(self._tracing.exporting(min(FLUSH_S, config.grace_s)))
            site = await stack.enter_async_context(site_of(config))
            changed = asyncio.Event()
            # Several front ends have the cache among them.
            cache_bytes = config.cache_bytes if config.front_ends == 1 else 0
            with serving.common(
                cache_bytes=cache_bytes, observer=self._observer, site=site, on_change=changed.set
            ) as common:
                async with refusals_alone(), asyncio.TaskGroup() as tasks:
                    models = self.models = Models(config, common, self._catalog, tasks, edge)
                    self._watch(models, common, edge)
                    self._web.desk.open(tasks)
                    parts = (_report_health(changed, models, edge), guard.run())
                    background = [tasks.create_task(part) for part in parts]
                    await self._serve(models, edge, stop, tasks)
                    await edge.stop(0)
                    await models.close()
                    for task in background:
                        task.cancel()

    def _edge(self, guard: Guard) -> Edge:
        config = self.config
        if config.front_ends > 1:
            edge = FrontEnds(config, self._metrics, self._observer, guard, load=self._load, state=self._state)
            self._metrics.registry.register(edge.figures)
            if config.tracing.endpoint:
                check_installed()
                self._metrics.registry.register(TracingMetrics(edge.traces))
            return edge
        return FrontEnd(
            config,
            guard,
            self._catalog,
            self._observer,
            load=self._load,
            state=self._state,
            tracer=self._tracing,
        )

    def _state(self) -> ServerState:
        return self.models.state() if self.models else ServerState(models=(), loading="", ready=False)

    def _is_warm(self, device: str) -> bool:
        return self.models is not None and self.models.is_warm(device)

    def _cpu_s(self) -> float:
        return time.process_time() + (self._front.cpu_s if self._front else 0.0)

    def _watch(self, models: Models, common: Common, edge: Edge) -> None:
        cache, catalog = common.cache, self._catalog
        self._metrics.watch(
            devices=self.config.devices,
            is_warm=models.is_warm,
            is_wanted=models.is_wanted,
            is_ready=lambda: edge.serving,
            capacity=lambda: sum(served.path.slots.capacity for served in catalog.served),
            depth=lambda: sum(served.path.dispatcher.depth for served in catalog.served),
            slots_in_use=lambda: sum(served.path.slots.in_use for served in catalog.served),
            cache_bytes=lambda: edge.cache_bytes + (cache.currsize if cache is not None else 0),
        )

    async def _serve(self, models: Models, edge: Edge, stop: asyncio.Event, tasks: asyncio.TaskGroup) -> None:
        model = await unless(stop, models.start())
        if model is None:
            return
        async with contextlib.AsyncExitStack() as control:
            if self.config.control:
                await control.enter_async_context(ControlServer(self.config.control, models))
            if await unless(stop, _true(edge.start(tasks))):
                await self._answer(edge, model, stop)

    async def _answer(self, edge: Edge, model: ModelDescription, stop: asyncio.Event) -> None:
        self.ready.set()
        if self._web.has_page:
            _log.info("the status page is http://%s/", self.metrics)
        _log.info("serving %s on %s, metrics on %s", model.name, self.listening, self.metrics)
        if await unless(stop, edge.closed()):
            # A server that nobody reaches is no server: whoever looks after this process starts it again.
            raise RuntimeError(f"gRPC has closed {self.listening} by itself")
        _log.info("stopping: no new work, up to %g s for what is in flight", self.config.grace_s)
        edge.drain()
        async with asyncio.TaskGroup() as ending:
            for end in (edge.stop, self._web.desk.close):
                ending.create_task(end(self.config.grace_s))


def _tell_limit(cores: Cores) -> None:
    if cores.limited:
        _log.info(
            "the cgroup allows the processor time of %g of %d cores: threads are as for %d",
            cores.quota,
            len(cores.numbers),
            cores.count,
        )


async def _report_health(changed: asyncio.Event, models: Models, edge: Edge) -> None:
    while True:
        await changed.wait()
        changed.clear()
        edge.set_serving(models.any_warm)


async def _true(starting: Coroutine[Any, Any, None]) -> bool:
    await starting
    return True


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
