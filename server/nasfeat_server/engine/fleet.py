"""Keeps one replica alive on every device: starts, watches and restarts them."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from nasfeat_server.engine import restarts
from nasfeat_server.engine.devices import Placement
from nasfeat_server.engine.interface import Executor, ModelDescription, PrecisionCheck, SupervisedExecutor
from nasfeat_server.errors import ConfigurationError, ReplicaLostError
from nasfeat_server.telemetry.events import (
    Observer,
    ReplicaDied,
    ReplicaEnded,
    ReplicaQuarantined,
    ReplicaReady,
    ReplicaStarted,
)

_log = logging.getLogger(__name__)


class Fleet:
    """One replica on each device, restarted with growing pauses when it dies.

    Args:
        placements: the devices.
        enough: warm replicas with which the fleet is; 0 for one on every device.
        policy: how often a device may fail.
        make: makes a replica for a device, not started.
        serve: gives work to a warm replica until cancelled; cancelled only when its process is dead or idle.
        observer: told of every birth and death.
        on_change: called with the number of warm replicas whenever it changes.
    """

    def __init__(
        self,
        *,
        placements: Sequence[Placement],
        policy: restarts.RestartPolicy,
        make: Callable[[Placement], SupervisedExecutor],
        serve: Callable[[Executor], Coroutine[Any, Any, None]],
        observer: Observer,
        on_change: Callable[[int], None],
        enough: int = 0,
    ) -> None:
        self._placements = placements
        self._enough = min(enough, len(placements)) or len(placements)
        self._policy = policy
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

    def is_warm(self, device: str) -> bool:
        """Whether the replica of `device` takes work."""
        return device in self._warm

    async def wait_warm(self) -> ModelDescription:
        """Return when every device, or `enough` of them, has a warm replica for the first time."""
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
        record = restarts.Record()
        while True:
            cause, warm_s = await self._live(placement, tasks)
            self._observer.observe(ReplicaDied(device=placement.device, cause=cause))
            record = restarts.after_death(record, warm_s)
            await self._pause(placement.device, record)

    async def _pause(self, device: str, record: restarts.Record) -> None:
        pause_s = restarts.pause_s(record, self._policy, random.random())  # noqa: S311 - jitter is no secret
        if restarts.is_quarantined(record, self._policy):
            _log.error(
                "device %s is in quarantine for %g s: its replicas died %d times without living for a minute",
                device,
                pause_s,
                record.deaths,
            )
            self._observer.observe(ReplicaQuarantined(device=device, pause_s=pause_s))
        else:
            _log.info("replica %s starts again in %.1f s", device, pause_s)
        await asyncio.sleep(pause_s)

    async def _live(self, placement: Placement, tasks: asyncio.TaskGroup) -> tuple[str, float]:
        """Run one replica from birth to death; returns why it died, and the seconds for which it was warm."""
        replica = self._make(placement)
        started_at = time.monotonic()
        warm_at = None
        try:
            pid = await replica.start()
            if pid is not None:
                self._observer.observe(ReplicaStarted(device=placement.device, pid=pid))
            tasks.create_task(replica.relay_log())
            description = await replica.warm_up()
            self._agree(description)
            self._mark(placement.device, up=True)
            warm_at = time.monotonic()
            start_s = warm_at - started_at
            self._observer.observe(_ready(placement.device, start_s, description.precision_check))
            _log.info("%r is warm after %.1f s", replica, start_s)
            if description.precision_check:
                _log.info("replica %s in %s: %s", placement.device, description.precision, description.precision_check)
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
            if replica.pid is not None:
                self._observer.observe(ReplicaEnded(device=placement.device, pid=replica.pid))
        _log.warning("%r is gone: %s; it last wrote:\n%s", replica, cause, replica.last_words or "nothing")
        return cause, time.monotonic() - warm_at if warm_at else 0.0

    async def _serve_until_lost(self, replica: SupervisedExecutor) -> str:
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
        if len(self._warm) >= self._enough:
            self._first_warm.set()
        if len(self._warm) != before:
            self._on_change(len(self._warm))


def _ready(device: str, start_s: float, check: PrecisionCheck | None) -> ReplicaReady:
    if check is None:
        return ReplicaReady(device=device, start_s=start_s)
    return ReplicaReady(device=device, start_s=start_s, mean_cosine=check.mean_cosine, min_cosine=check.min_cosine)
