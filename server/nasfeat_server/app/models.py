"""The versions of the model over the server's life: loaded beside each other, tried, promoted, rolled back."""

import asyncio
import dataclasses
import gc
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from nasfeat_server.app.generation import Generation
from nasfeat_server.app.orders import Order
from nasfeat_server.app.serving import Common
from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.interface import ModelDescription
from nasfeat_server.errors import ConfigurationError, ReloadError, ShuttingDownError
from nasfeat_server.rpc.catalog import Catalog, Served
from nasfeat_server.rpc.control import ModelState, ServerState
from nasfeat_server.telemetry.events import ModelFacts, ModelLabel, ModelsChanged

_log = logging.getLogger(__name__)


class Audience(Protocol):
    """Who takes calls, and has to know what is served."""

    def arrange(self, places: Mapping[ModelLabel, Generation], share: float) -> None:
        """Say what is served under which label from now on, and the canary's share of new calls."""
        ...

    async def settled(self) -> None:
        """Return when all calls find what was arranged."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """A version that is served, and what keeps it alive."""

    generation: Generation
    served: Served


class Models:
    """Carries out what an operator wants with versions; one such order at a time.

    Args:
        config: the server's, of which other versions take everything but the weights.
        common: what all versions use together.
        catalog: where calls find the versions.
        tasks: where the versions live.
        audience: those who take calls.
    """

    def __init__(
        self, config: ServerConfig, common: Common, catalog: Catalog, tasks: asyncio.TaskGroup, audience: Audience
    ) -> None:
        self._config = config
        self._common = common
        self._catalog = catalog
        self._tasks = tasks
        self._audience = audience
        self._stable: _Version | None = None
        self._canary: _Version | None = None
        self._previous: _Version | None = None
        self._share = 0.0
        self._loading: Generation | None = None
        self._lives: dict[asyncio.Task[None], Generation] = {}
        self._turn = asyncio.Lock()

    async def start(self) -> ModelDescription:
        """Load what the server was told to serve, and give what that is.

        Raises:
            ConfigurationError: it cannot be served.
        """
        self._stable = await self._load(self._config, patient=True)
        self._arrange()
        return self._stable.served.description

    def is_warm(self, device: str) -> bool:
        """Whether the stable version's replica of `device` takes work, or that of the version that starts."""
        generation = self._watched
        return generation is not None and generation.is_warm(device)

    def is_wanted(self, device: str) -> bool:
        """Whether there shall be that replica, by the load."""
        generation = self._watched
        return generation is None or generation.is_wanted(device)

    @property
    def _watched(self) -> Generation | None:
        return self._stable.generation if self._stable else self._loading

    @property
    def any_warm(self) -> bool:
        """Whether the stable version can compute."""
        return any(self.is_warm(device) for device in self._config.devices)

    def state(self) -> ServerState:
        """Say what is served, and what is under way; from any thread, a moment late."""
        labelled = tuple(self._labelled())
        known = [self._loading, *(version.generation for version in labelled)]
        models = [self._state(version.generation, version.served.label) for version in labelled]
        # Copied at once: another thread may ask.
        others = [generation for generation in tuple(self._lives.values()) if generation not in known]
        models += [self._state(generation, "retiring") for generation in others if generation.is_loaded]
        loading = self._loading.config.model_version if self._loading else ""
        return ServerState(models=tuple(models), loading=loading, ready=self.any_warm)

    def _state(self, generation: Generation, label: str) -> ModelState:
        warm = tuple(device for device in self._config.devices if generation.is_warm(device))
        served = generation.loaded.result()
        return ModelState(label=label, served=served, share=self._shares().get(label, 0.0), warm_devices=warm)

    async def load(self, *, weights: str, version: str, share: float) -> None:
        """Load other weights as the canary and give it `share` of the new calls.

        Raises:
            ReloadError: there is a canary already, the weights do not fit, or another order is being carried out.
        """
        async with self._order("loaded"):
            if self._canary:
                raise ReloadError(f"version {_name(self._canary)!r} is the canary: promote it, or roll it back, first")
            self._check_name(version)
            _check_share(share)
            self._canary = await self._load_beside(weights, version)
            self._share = share
            self._arrange()

    async def set_share(self, share: float) -> None:
        """Give the canary `share` of the new calls.

        Raises:
            ReloadError: there is no canary, the share is not from 0 to 1, or another order is being carried out.
        """
        async with self._order("shared"):
            self._demand_canary()
            _check_share(share)
            self._share = share
            self._arrange()

    async def promote(self, *, move_streams: bool, keep_previous: bool) -> None:
        """Make the canary the stable version; what was stable finishes its calls.

        Args:
            move_streams: end its streams too, once what they have in flight is answered: clients open them again.
            keep_previous: keep its replicas afterwards, so that a rollback takes no time.

        Raises:
            ReloadError: there is no canary, or another order is being carried out.
        """
        async with self._order("promoted"):
            new, old, older = self._demand_canary(), self._stable, self._previous
            self._stable, self._canary, self._previous = new, None, old if keep_previous else None
            self._arrange()
            for version in (old, older):
                if version and move_streams:
                    _end_streams(version, new)
                if version and version is not self._previous:
                    version.generation.retire()

    async def roll_back(self, *, move_streams: bool) -> None:
        """Give the canary up; without one, make the version before this one stable again.

        Raises:
            ReloadError: there is neither, or another order is being carried out.
        """
        async with self._order("rolled_back"):
            if self._canary and self._stable:
                given_up, kept, self._canary = self._canary, self._stable, None
            elif self._previous and self._stable:
                given_up, kept, self._previous = self._stable, self._previous, None
            else:
                raise ReloadError("there is neither a canary to give up nor a previous version that was kept")
            self._stable = kept
            self._arrange()
            if move_streams:
                _end_streams(given_up, kept)
            given_up.generation.retire()

    async def close(self) -> None:
        """End every version at once; no call is under way any more."""
        for life in self._lives:
            life.cancel()
        if self._lives:
            await asyncio.wait(self._lives)

    def _order(self, outcome: str) -> Order:
        return Order(self._turn, outcome, observer=self._common.observer, settled=self._audience.settled)

    def _labelled(self) -> Iterator[_Version]:
        return (version for version in (self._stable, self._canary, self._previous) if version)

    def _check_name(self, version: str) -> None:
        if any(version == _name(other) for other in self._labelled()):
            raise ReloadError(f"there is a version {version!r} already; give the new one another name")
        if not version or version in tuple(ModelLabel):
            raise ReloadError(f"a version cannot be called {version!r}: calls would not know what is meant")

    def _demand_canary(self) -> _Version:
        if not self._canary:
            raise ReloadError("there is no canary; load one first")
        return self._canary

    async def _load_beside(self, weights: str, version: str) -> _Version:
        # The module says its own variant, and the stable one's if it does not.
        config = dataclasses.replace(self._config, weights=weights, model_version=version)
        try:
            loaded = await self._load(config, patient=False)
        except (ConfigurationError, OSError) as error:
            raise ReloadError(f"{weights} cannot be loaded: {error}") from error
        here = self._stable.served.model.feature_length if self._stable else 0
        there = loaded.served.model.feature_length
        if there != here:
            loaded.generation.retire()
            raise ReloadError(
                f"{weights} gives feature vectors of {there} values, the stable version of {here}: "
                "clients could not take one for the other; start another server for it"
            )
        return loaded

    async def _load(self, config: ServerConfig, *, patient: bool) -> _Version:
        generation = self._loading = Generation(config, self._common, patient=patient)
        life = self._tasks.create_task(generation.run())
        self._lives[life] = generation
        life.add_done_callback(self._ended)
        try:
            served = await asyncio.shield(generation.loaded)
        except asyncio.CancelledError:
            life.cancel()
            raise
        finally:
            self._loading = None
        if not served.description.trained:
            _log.warning("the weights are %s: UNTRAINED, the features mean nothing", served.description.weights_source)
        return _Version(generation=generation, served=served)

    def _ended(self, life: asyncio.Task[None]) -> None:
        del self._lives[life]
        # Its parts know each other: without this its arena would be kept until Python looks for such circles by itself.
        asyncio.get_running_loop().call_soon(gc.collect)

    def _shares(self) -> dict[str, float]:
        share = self._catalog.share
        return {ModelLabel.STABLE: 1.0 - share, ModelLabel.CANARY: share}

    def _arrange(self) -> None:
        labels = zip(ModelLabel, (self._stable, self._canary, self._previous), strict=True)
        places = {label: version for label, version in labels if version}
        served = {label: version.served for label, version in places.items()}
        self._catalog.arrange(served, self._share)
        shares = self._shares()
        facts = {served.label: _facts(served, shares.get(served.label, 0.0)) for served in self._catalog.served}
        _log.info("now %s", ", ".join(f"version {fact.version!r} is {label}" for label, fact in facts.items()))
        self._common.observer.observe(ModelsChanged(models=facts))
        self._audience.arrange({label: version.generation for label, version in places.items()}, self._catalog.share)
        self._common.on_change()


def _end_streams(old: _Version, new: _Version) -> None:
    message = f"version {_name(old)!r} of the model gives way to {_name(new)!r}; open the stream again"
    old.served.calls.end_streams(ShuttingDownError(message))


def _name(version: _Version) -> str:
    return version.generation.config.model_version


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ReloadError(f"a share is from 0 to 1, not {share:g}")


def _facts(served: Served, share: float) -> ModelFacts:
    identity = served.model.identity
    return ModelFacts(
        name=identity.name,
        version=identity.version,
        weights_digest=identity.weights_digest,
        weights_source=identity.weights_source,
        precision=identity.precision,
        trained=identity.trained,
        share=share,
    )
