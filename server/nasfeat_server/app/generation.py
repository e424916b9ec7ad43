"""One version of the model from its loading to the end of its last call, with all that is its own."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from nasfeat_server.app.scaling import follow_load
from nasfeat_server.app.serving import Common, served
from nasfeat_server.app.waiting import refusals_alone, unless
from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.fleet import Fleet
from nasfeat_server.engine.hold import Hold
from nasfeat_server.engine.interface import EngineOptions, ModelDescription
from nasfeat_server.engine.preparing import prepare_model, scratch
from nasfeat_server.engine.restarts import RestartPolicy
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.rpc.catalog import Served
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.windows import WindowKeeper
from nasfeat_server.telemetry.events import Event, Observer, ReplicaDied
from nasfeat_server.telemetry.version_counts import VersionCounter, VersionCounts

_log = logging.getLogger(__name__)

# Of replicas that were never warm, after which a version is not waited for while another one serves.
_HOPELESS_DEATHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What stands between the wire and the replicas, once it is known which network is served."""

    arena: Arena
    slots: SlotPool
    dispatcher: Dispatcher
    windows: WindowKeeper


class Generation:
    """One version of the model.

    Args:
        config: which weights, and how they are served.
        common: what it shares with other versions.
        patient: keep trying for as long as replicas fail to start, as a server does that has nothing else to serve.

    Attributes:
        loaded: done when every device has a warm replica, or enough of a cluster's have one; or with the reason why
            there will be none.
        core: what stands between the wire and the replicas, from when it is known which network is served.
    """

    def __init__(self, config: ServerConfig, common: Common, *, patient: bool) -> None:
        self.config = config
        self.loaded: asyncio.Future[Served] = asyncio.get_running_loop().create_future()
        self.core: Core | None = None
        self._common = common
        # Facades are asked for what a version has done.
        self._counts = VersionCounts() if config.facades else None
        self._observer: Observer = common.observer
        if self._counts:
            self._observer = VersionCounter(counts=self._counts, observer=common.observer)
        self._patient = patient
        self._fleet: Fleet | None = None
        self._retired = asyncio.Event()

    def __repr__(self) -> str:
        """Show which weights these are."""
        return f"<Generation {self.config.model_version} of {self.config.weights}>"

    @property
    def is_loaded(self) -> bool:
        """Whether it has served, or still does."""
        return self.loaded.done() and not self.loaded.cancelled() and not self.loaded.exception()

    @property
    def loaded_core(self) -> Core:
        """What stands between the wire and the replicas, of a version that is loaded."""
        if not self.core:
            raise AssertionError("asked for before the version was loaded")
        return self.core

    def is_warm(self, device: str) -> bool:
        """Whether the replica of `device` takes work."""
        return self._fleet is not None and self._fleet.is_warm(device)

    def is_wanted(self, device: str) -> bool:
        """Whether there shall be that replica, by the load."""
        return self._fleet is None or self._fleet.is_wanted(device)

    def retire(self) -> None:
        """End the replicas as soon as no call is under way any more."""
        self._retired.set()

    async def run(self) -> None:
        """Load, serve until retired and idle, and free everything. What hinders the loading is left in `loaded`."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                loading = await prepare_model(self.config, stack.enter_context(scratch()))
                if loading.artifact:
                    stack.enter_context(Hold(loading.artifact))
                await self._keep_replicas(loading, self._core(loading.model.spec, stack))
        except (ConfigurationError, OSError) as error:
            if self.loaded.done():
                raise
            self.loaded.set_exception(error)
        finally:
            self.loaded.cancel()

    def _core(self, spec: NetworkSpec, stack: contextlib.AsyncExitStack) -> Core:
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
        stack.callback(dispatcher.close)
        self.core = Core(arena=arena, slots=slots, dispatcher=dispatcher, windows=WindowKeeper(config.slots))
        return self.core

    async def _keep_replicas(self, loading: EngineOptions, core: Core) -> None:
        _log.info("loading %s on %s", self.config.weights, ", ".join(self.config.devices))
        watch, site = _Watch(self._common.observer), self._common.site
        scaling = site.scaling
        fleet = self._fleet = Fleet(
            placements=site.placements(),
            wanted=scaling.least,
            enough=site.enough,
            policy=RestartPolicy(quarantine_after=self.config.quarantine_after, quarantine_s=self.config.quarantine_s),
            # While another version serves, an order to load this one ends with a word, not with a wait for a new node.
            make=site.maker(loading, core.arena, may_wait=lambda: self._patient or self.is_loaded),
            serve=core.dispatcher.serve,
            observer=watch,
            on_change=lambda _: self._common.on_change(),
        )
        async with refusals_alone(), asyncio.TaskGroup() as tasks:
            parts = (fleet.run(), core.windows.run(), follow_load(scaling, core.dispatcher, fleet))
            background = [tasks.create_task(part) for part in parts]
            never = asyncio.Event()
            description = await unless(never if self._patient else watch.hopeless, fleet.wait_warm())
            if description is None:
                raise ConfigurationError(f"its replicas died {_HOPELESS_DEATHS} times while it was loaded; see the log")
            loaded = self._served(description, core)
            self.loaded.set_result(loaded)
            await self._retired.wait()
            await loaded.calls.wait_none()
            for task in background:
                task.cancel()

    def _served(self, description: ModelDescription, core: Core) -> Served:
        return served(
            self.config,
            description,
            self._common,
            images=core.arena.images,
            slots=core.slots,
            dispatcher=core.dispatcher,
            windows=core.windows,
            observer=self._observer,
            counts=self._counts,
        )


class _Watch:
    """Passes events on, and counts the deaths of replicas."""

    def __init__(self, observer: Observer) -> None:
        self.hopeless = asyncio.Event()
        self._observer = observer
        self._deaths = 0

    def observe(self, event: Event) -> None:
        self._deaths += isinstance(event, ReplicaDied)
        if self._deaths >= _HOPELESS_DEATHS:
            self.hopeless.set()
        self._observer.observe(event)


def _layout(config: ServerConfig, spec: NetworkSpec) -> ArenaLayout:
    return ArenaLayout(
        slots=config.slots,
        image_height=spec.image_size,
        image_width=spec.image_size,
        result_bytes=config.limits.max_result_bytes,
    )
