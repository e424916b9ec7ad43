"""The composition root: the only place that constructs the server's parts, in order, and takes them down in reverse."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from cachetools import LRUCache

from nasfeat_server.config import Endpoint, ServerConfig
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.devices import Placement, place
from nasfeat_server.engine.fleet import Fleet
from nasfeat_server.engine.hold import Hold
from nasfeat_server.engine.interface import EngineOptions, ModelDescription
from nasfeat_server.engine.preparing import prepare_model
from nasfeat_server.engine.replica import Replica
from nasfeat_server.engine.restarts import RestartPolicy
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.imaging.decode import preprocessing_digest
from nasfeat_server.imaging.digest import digest_key
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.types import ImageLimits
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.rpc.convert import identity_message, model_message
from nasfeat_server.rpc.decoding import Decoding
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.server import RpcServer
from nasfeat_server.rpc.servicer import FeatureServicer
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.sharing import Key, Sharing
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.windows import WindowKeeper
from nasfeat_server.telemetry.events import ModelLoaded
from nasfeat_server.telemetry.prometheus import MetricsServer, PrometheusObserver

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


# Images on their way keep their bytes until then, for others to be compared to, and those that wait for them do.
_MAX_SHARED_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Core:
    """What stands between the wire and the replicas, once it is known which network is served."""

    arena: Arena
    slots: SlotPool
    dispatcher: Dispatcher
    decoders: ThreadPoolExecutor
    sharing: Sharing
    windows: WindowKeeper


class App:
    """One running server.

    Attributes:
        config: what it was told.
        listening: where gRPC is served, the port filled in, once it is bound.
        metrics: where metrics are served, likewise.
        ready: set when the server takes work.
    """

    def __init__(self, config: ServerConfig) -> None:
        """Keep the configuration; `run` does the work."""
        self.config = config
        self.listening: Endpoint | None = None
        self.metrics: Endpoint | None = None
        self.ready = asyncio.Event()
        self._observer = PrometheusObserver()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish what is in flight.

        Raises:
            ConfigurationError: the server cannot start as it was told to.
        """
        config = self.config
        placements = place(config.devices)
        Framing.parse(config.crop)
        async with contextlib.AsyncExitStack() as stack:
            self.metrics = stack.enter_context(MetricsServer(config.metrics, self._observer.registry)).endpoint
            rpc = RpcServer(listen=config.listen, limits=config.limits)
            stack.push_async_callback(rpc.stop, 0)
            self.listening = rpc.bind()
            loading = await _unless(stop, prepare_model(config))
            if loading is None:
                return
            if loading.artifact:
                stack.enter_context(Hold(loading.artifact))
            core = self._core(loading.model.spec, stack)
            await self._keep_replicas(placements, loading, core, rpc, stop)

    def _core(self, spec: NetworkSpec, stack: contextlib.ExitStack | contextlib.AsyncExitStack) -> "_Core":
        config = self.config
        arena = Arena.create(_layout(config, spec))
        stack.callback(arena.close)
        slots = SlotPool(config.slots)
        dispatcher = Dispatcher(
            slots=slots,
            buckets=config.batch_buckets,
            collect=arena.take_results,
            outage_s=config.outage_s,
            observer=self._observer,
        )
        cache: LRUCache[Key, bytes] | None = LRUCache(config.cache_bytes, getsizeof=len) if config.cache_bytes else None
        self._observer.watch(
            devices=config.devices,
            capacity=slots.capacity,
            depth=lambda: dispatcher.depth,
            slots_in_use=lambda: slots.in_use,
            cache_bytes=lambda: cache.currsize if cache is not None else 0,
        )
        return _Core(
            arena=arena,
            slots=slots,
            dispatcher=dispatcher,
            decoders=stack.enter_context(ThreadPoolExecutor(_cores(), thread_name_prefix="decode")),
            sharing=Sharing(cache=cache, max_bytes=_MAX_SHARED_BYTES if config.single_flight else 0),
            windows=WindowKeeper(config.slots),
        )

    async def _keep_replicas(
        self,
        placements: tuple[Placement, ...],
        loading: EngineOptions,
        core: "_Core",
        rpc: RpcServer,
        stop: asyncio.Event,
    ) -> None:
        async with _refusals_alone(), asyncio.TaskGroup() as tasks:
            warm: asyncio.Queue[int] = asyncio.Queue()
            fleet = Fleet(
                placements=placements,
                policy=RestartPolicy(
                    quarantine_after=self.config.quarantine_after, quarantine_s=self.config.quarantine_s
                ),
                make=lambda placement: self._replica(placement, loading, core.arena),
                serve=core.dispatcher.serve,
                observer=self._observer,
                on_change=warm.put_nowait,
            )
            running = (fleet.run(), _report_health(warm, rpc), core.windows.run())
            background = [tasks.create_task(part) for part in running]
            await self._serve(fleet, rpc, core, stop)
            for task in background:
                task.cancel()

    async def _serve(self, fleet: Fleet, rpc: RpcServer, core: "_Core", stop: asyncio.Event) -> None:
        _log.info("loading %s on %s", self.config.weights, ", ".join(self.config.devices))
        description = await _unless(stop, fleet.wait_warm())
        if description is None:
            return
        servicer = self._servicer(description, core)
        await rpc.start(servicer)
        self.ready.set()
        _log.info("serving %s on %s, metrics on %s", description.name, self.listening, self.metrics)
        await stop.wait()
        _log.info("stopping: no new work, up to %g s for what is in flight", self.config.grace_s)
        await rpc.stop_serving()
        servicer.drain()
        await rpc.stop(self.config.grace_s)

    def _servicer(self, description: ModelDescription, core: "_Core") -> FeatureServicer:
        config = self.config
        if not description.trained:
            _log.warning("the weights are %s: UNTRAINED, the features mean nothing", description.weights_source)
        framing = Framing.parse(config.crop)
        digest = preprocessing_digest(description.image_height, description.image_width, framing)
        identity = identity_message(description, config.model_version, digest)
        self._observer.observe(
            ModelLoaded(
                name=description.name,
                version=config.model_version,
                weights_digest=description.weights_digest,
                weights_source=description.weights_source,
                precision=description.precision,
                trained=description.trained,
            )
        )
        model = model_message(description, identity, config.limits)
        key = digest_key(identity.weights_digest, identity.precision, identity.wiring, digest)
        return FeatureServicer(
            path=self._frame_path(core, key, framing),
            description=description,
            model=model,
            limits=config.limits,
            windows=core.windows,
            observer=self._observer,
        )

    def _frame_path(self, core: "_Core", key: bytes, framing: Framing) -> FramePath:
        limits = self.config.limits
        return FramePath(
            slots=core.slots,
            dispatcher=core.dispatcher,
            decoding=Decoding(
                images=core.arena.images,
                threads=core.decoders,
                room=asyncio.Semaphore(2 * _cores()),
                limits=ImageLimits(max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels),
                framing=framing,
            ),
            sharing=core.sharing,
            digest_key=key,
            observer=self._observer,
        )

    def _replica(self, placement: Placement, loading: EngineOptions, arena: Arena) -> Replica:
        return Replica(
            placement=placement,
            options=dataclasses.replace(loading, cores=placement.cores),
            arena=arena,
            hang_s=self.config.hang_s,
            start_limit_s=self.config.start_limit_s,
        )


def _layout(config: ServerConfig, spec: NetworkSpec) -> ArenaLayout:
    return ArenaLayout(
        slots=config.slots,
        image_height=spec.image_size,
        image_width=spec.image_size,
        result_bytes=config.limits.max_result_bytes,
    )


@contextlib.asynccontextmanager
async def _refusals_alone() -> AsyncIterator[None]:
    """Raise the reason not to start by itself, without the group that the tasks around it make of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _refusal(group) or group from None


def _refusal(group: BaseExceptionGroup[BaseException]) -> ConfigurationError | None:
    """Find the reason not to start among what ended the tasks, if that is what it was."""
    for error in group.exceptions:
        found = _refusal(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, ConfigurationError):
            return found
    return None


async def _report_health(warm: asyncio.Queue[int], rpc: RpcServer) -> None:
    while True:
        await rpc.set_serving(await warm.get() > 0)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


async def _unless(stop: asyncio.Event, awaitable: Coroutine[Any, Any, _T]) -> _T | None:
    """Return what `awaitable` gives, or None as soon as `stop` is set."""
    async with _refusals_alone(), asyncio.TaskGroup() as tasks:
        wanted = tasks.create_task(awaitable)
        stopped = tasks.create_task(stop.wait())
        await asyncio.wait((wanted, stopped), return_when=asyncio.FIRST_COMPLETED)
        result = wanted.result() if wanted.done() else None
        wanted.cancel()
        stopped.cancel()
    return result


async def main(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: the server cannot start as it was told to.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await App(config).run(stop)
    _log.info("stopped")
