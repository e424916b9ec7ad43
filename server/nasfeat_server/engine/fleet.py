"""Keeps one replica alive on every device: starts, watches and restarts them."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from nasfeat_server.engine import restarts
from nasfeat_server.engine.devices import Placement
from nasfeat_server.engine.interface import Executor, ModelDescription, PrecisionCheck, SupervisedExecutor
from nasfeat_server.errors import ConfigurationError, ReplicaLostError
from nasfeat_server.telemetry.events import (
    Observer,
    ReplicaDied,
    ReplicaEnded,
    ReplicaParked,
    ReplicaQuarantined,
    ReplicaReady,
    ReplicaStarted,
)

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Fleet:
    """One replica on each device, restarted with growing pauses when it dies; or on so many as are wanted.

    Args:
        placements: the devices.
        wanted: replicas that are wanted at first; 0 for one on every device.
        enough: warm replicas with which the fleet is; 0 for all that are wanted at first.
        policy: how often a device may fail.
        make: makes a replica for a device, not started.
        serve: gives work to a warm replica until cancelled, or until the event is set and the work done that it has;
            cancelled only when its process is dead or idle.
        observer: told of every birth and death.
        on_change: called with the number of warm replicas whenever it changes.
    """

    def __init__(
        self,
        *,
        placements: Sequence[Placement],
        policy: restarts.RestartPolicy,
        make: Callable[[Placement], SupervisedExecutor],
        serve: Callable[[Executor, asyncio.Event], Coroutine[Any, Any, None]],
        observer: Observer,
        on_change: Callable[[int], None],
        wanted: int = 0,
        enough: int = 0,
    ) -> None:
        self._placements = placements
        first = min(wanted, len(placements)) or len(placements)
        self._posts = {place.device: _Post(wanted=number < first) for number, place in enumerate(placements)}
        self._enough = min(enough, first) or first
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
        down = {True: "down", False: "parked"}
        states = (
            f"{device}={'up' if device in self._warm else down[post.is_wanted]}" for device, post in self._posts.items()
        )
        return f"<Fleet {' '.join(states)}>"

    def is_warm(self, device: str) -> bool:
        """Whether the replica of `device` takes work."""
        return device in self._warm

    def is_wanted(self, device: str) -> bool:
        """Whether there shall be a replica of `device`."""
        return self._posts[device].is_wanted

    def want(self, count: int) -> None:
        """Keep `count` replicas from now on: those that are warm before those that are not, the first before the last.

        One that is not wanted any more does the work that it has, and ends.
        """
        ranked = sorted(self._posts, key=lambda device: (not self.is_wanted(device), not self.is_warm(device)))
        for device in ranked[:count]:
            self._posts[device].want()
        for device in ranked[count:]:
            if self.is_wanted(device):
                self._posts[device].dismiss()
                self._observer.observe(ReplicaParked(device=device))

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
        post, record = self._posts[placement.device], restarts.Record()
        while True:
            await post.wanted.wait()
            cause, warm_s = await self._live(placement, tasks)
            if cause is None:
                continue
            self._observer.observe(ReplicaDied(device=placement.device, cause=cause))
            record = restarts.after_death(record, warm_s)
            if post.is_wanted:
                await _unless(post.dismissed, self._pause(placement.device, record))

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

    async def _live(self, placement: Placement, tasks: asyncio.TaskGroup) -> tuple[str | None, float]:
        """Run one replica from birth to death.

        Returns:
            Why it died, None if it was not wanted any more; and the seconds for which it was warm.
        """
        replica, post = self._make(placement), self._posts[placement.device]
        cause, warm_at = None, None
        try:
            if await _unless(post.dismissed, self._start(replica, tasks)):
                warm_at = time.monotonic()
                cause = await self._serve_until_lost(replica, post.dismissed)
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
        if cause is None:
            _log.info("%r has ended: the load does not need it", replica)
        else:
            _log.warning("%r is gone: %s; it last wrote:\n%s", replica, cause, replica.last_words or "nothing")
        return cause, time.monotonic() - warm_at if warm_at else 0.0

    async def _start(self, replica: SupervisedExecutor, tasks: asyncio.TaskGroup) -> bool:
        started_at = time.monotonic()
        pid = await replica.start()
        if pid is not None:
            self._observer.observe(ReplicaStarted(device=replica.device, pid=pid))
        tasks.create_task(replica.relay_log())
        description = await replica.warm_up()
        self._agree(description)
        self._mark(replica.device, up=True)
        start_s = time.monotonic() - started_at
        self._observer.observe(_ready(replica.device, start_s, description.precision_check))
        _log.info("%r is warm after %.1f s", replica, start_s)
        if description.precision_check:
            _log.info("replica %s in %s: %s", replica.device, description.precision, description.precision_check)
        return True

    async def _serve_until_lost(self, replica: SupervisedExecutor, leave: asyncio.Event) -> str | None:
        async with asyncio.TaskGroup() as life:
            serving = life.create_task(self._serve(replica, leave))
            losing = life.create_task(replica.wait_lost())
            await asyncio.wait({serving, losing}, return_when=asyncio.FIRST_COMPLETED)
            self._mark(replica.device, up=False)
            cause = losing.result() if losing.done() else None
            for task in (serving, losing):
                task.cancel()
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


class _Post:
    """Whether a device's replica is wanted; each of two events is set while the other is not."""

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = asyncio.Event()
        self.dismissed = asyncio.Event()
        (self.wanted if wanted else self.dismissed).set()

    @property
    def is_wanted(self) -> bool:
        return self.wanted.is_set()

    def want(self) -> None:
        self.wanted.set()
        self.dismissed.clear()

    def dismiss(self) -> None:
        self.dismissed.set()
        self.wanted.clear()


async def _unless(dismissed: asyncio.Event, doing: Coroutine[Any, Any, _T]) -> _T | None:
    """Return what `doing` gives, or None as soon as `dismissed` is set."""
    tasks = asyncio.ensure_future(doing), asyncio.ensure_future(dismissed.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _ready(device: str, start_s: float, check: PrecisionCheck | None) -> ReplicaReady:
    if check is None:
        return ReplicaReady(device=device, start_s=start_s)
    return ReplicaReady(device=device, start_s=start_s, mean_cosine=check.mean_cosine, min_cosine=check.min_cosine)
