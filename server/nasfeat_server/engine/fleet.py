"""Keeps one replica alive on every device: starts, watches and restarts them."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from nasfeat_server.engine.devices import Placement
from nasfeat_server.engine.interface import Executor, ModelDescription
from nasfeat_server.engine.replica import Replica
from nasfeat_server.errors import ConfigurationError, ReplicaLostError
from nasfeat_server.telemetry.events import Observer, ReplicaDied, ReplicaReady

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_HEALTHY_AFTER_S = 60.0


class Fleet:
    """One replica on each device, restarted with growing pauses when it dies.

    Args:
        placements: the devices.
        make: makes a replica for a device, not started.
        serve: gives work to a warm replica until cancelled; cancelled only when its process is dead or idle.
        observer: told of every birth and death.
        on_change: called with the number of warm replicas whenever it changes.
    """

    def __init__(
        self,
        *,
        placements: Sequence[Placement],
        make: Callable[[Placement], Replica],
        serve: Callable[[Executor], Coroutine[Any, Any, None]],
        observer: Observer,
        on_change: Callable[[int], None],
    ) -> None:
        self._placements = placements
        self._make = make
        self._serve = serve
        self._observer = observer
        self._on_change = on_change
        self._warm: set[str] = set()
        self._first_warm = asyncio.Event()
        self._described: ModelDescription | None = None

    def __repr__(self) -> str:
        """Show which devices are up."""
        states = (f"{place.device}={'up' if place.device in self._warm else 'down'}" for place in self._placements)
        return f"<Fleet {' '.join(states)}>"

    async def wait_warm(self) -> ModelDescription:
        """Return when every device has a warm replica for the first time."""
        await self._first_warm.wait()
        if self._described is None:
            raise AssertionError("a warm fleet has been described")
        return self._described

    async def run(self) -> None:
        """Keep the replicas alive until cancelled, then end their processes.

        Raises:
            ConfigurationError: a replica cannot serve what it was told to; no restart would help.
        """
        async with asyncio.TaskGroup() as devices:
            for placement in self._placements:
                devices.create_task(self._keep_alive(placement, devices))

    async def _keep_alive(self, placement: Placement, tasks: asyncio.TaskGroup) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            started_at = time.monotonic()
            cause = await self._live(placement, tasks)
            self._observer.observe(ReplicaDied(device=placement.device, cause=cause))
            if time.monotonic() - started_at > _HEALTHY_AFTER_S:
                pause_s = _FIRST_PAUSE_S
            _log.info("replica %s starts again in %g s", placement.device, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _live(self, placement: Placement, tasks: asyncio.TaskGroup) -> str:
        """Run one replica from birth to death; returns why it died."""
        replica = self._make(placement)
        started_at = time.monotonic()
        try:
            await replica.start()
            tasks.create_task(replica.relay_log())
            self._agree(await replica.warm_up())
            self._mark(placement.device, up=True)
            start_s = time.monotonic() - started_at
            self._observer.observe(ReplicaReady(device=placement.device, start_s=start_s))
            _log.info("replica %s (pid %s) is warm after %.1f s", placement.device, replica.pid, start_s)
            cause = await self._serve_until_lost(replica)
        except (ReplicaLostError, ConfigurationError) as error:
            # What fails before the server has ever been ready is the operator's to mend; afterwards the other
            # replicas serve on, and the cause may pass.
            if isinstance(error, ConfigurationError) and not self._first_warm.is_set():
                raise
            _log.error("replica %s did not start: %s", placement.device, error)
            cause = "failed_start"
        finally:
            self._mark(placement.device, up=False)
            await replica.close()
        _log.warning("%r is gone: %s; it last wrote:\n%s", replica, cause, replica.last_words or "nothing")
        return cause

    async def _serve_until_lost(self, replica: Replica) -> str:
        async with asyncio.TaskGroup() as life:
            serving = life.create_task(self._serve(replica))
            cause = await replica.wait_lost()
            self._mark(replica.device, up=False)
            serving.cancel()
        return cause

    def _agree(self, description: ModelDescription) -> None:
        if self._described not in (None, description):
            raise ConfigurationError(f"replicas disagree on the model: {description} is not {self._described}")
        self._described = description

    def _mark(self, device: str, *, up: bool) -> None:
        before = len(self._warm)
        (self._warm.add if up else self._warm.discard)(device)
        if len(self._warm) == len(self._placements):
            self._first_warm.set()
        if len(self._warm) != before:
            self._on_change(len(self._warm))
