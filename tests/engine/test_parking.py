"""Fleets of which not every replica is wanted all the time; replicas are scripted, and cost nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from eventlog import EventLog
from nasfeat_server.engine import restarts
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.devices import Placement
from nasfeat_server.engine.fake import FakeExecutor
from nasfeat_server.engine.fleet import Fleet
from nasfeat_server.engine.interface import Executor
from nasfeat_server.errors import ReplicaLostError
from nasfeat_server.telemetry.events import ReplicaDied, ReplicaParked, ReplicaQuarantined, ReplicaReady
from serving import until

_DEVICES = tuple(f"ray:{number}" for number in range(3))


class _Replica(FakeExecutor):
    """One that starts when its place is free, and lives until it is closed or told to die."""

    pid = None
    last_words = ""

    def __init__(self, arena: Arena, device: str, placed: asyncio.Event) -> None:
        super().__init__(arena, device=device)
        self.lost = asyncio.get_running_loop().create_future()
        self.closed = False
        self._placed = placed

    async def start(self) -> None:
        await self._placed.wait()

    async def relay_log(self) -> None: ...

    async def wait_lost(self) -> str:
        cause: str = await asyncio.shield(self.lost)
        return cause

    async def close(self) -> None:
        self.closed = True


class _Bench:
    """A fleet, and everything that becomes of it."""

    def __init__(self, *, wanted: int = 0, enough: int = 0) -> None:
        self.log = EventLog()
        self.places = {device: asyncio.Event() for device in _DEVICES}
        self.made: list[_Replica] = []
        self.begun: list[str] = []
        self.served: list[str] = []
        self.working = asyncio.Event()
        self.working.set()
        self._arena = Arena.create(ArenaLayout(slots=1, image_height=4, image_width=4, result_bytes=64))
        self.fleet = Fleet(
            placements=[Placement(device=device, cores=()) for device in _DEVICES],
            wanted=wanted,
            enough=enough,
            policy=restarts.RestartPolicy(quarantine_after=1, quarantine_s=3600),
            make=self._make,
            serve=self._serve,
            observer=self.log,
            on_change=lambda _: None,
        )

    def give_places(self, *devices: str) -> None:
        for device in devices or _DEVICES:
            self.places[device].set()

    @property
    def alive(self) -> list[str]:
        return [replica.device for replica in self.made if not replica.closed]

    @property
    def warm(self) -> list[str]:
        return [device for device in _DEVICES if self.fleet.is_warm(device)]

    def events(self, kind: type[ReplicaDied | ReplicaParked | ReplicaQuarantined | ReplicaReady]) -> list[str]:
        return [event.device for event in self.log.events if isinstance(event, kind)]

    def _make(self, placement: Placement) -> _Replica:
        self.made.append(_Replica(self._arena, placement.device, self.places[placement.device]))
        return self.made[-1]

    async def _serve(self, executor: Executor, leave: asyncio.Event) -> None:
        self.begun.append(executor.device)
        await leave.wait()
        # Its last batch.
        await self.working.wait()
        self.served.append(executor.device)


@contextlib.asynccontextmanager
async def _running(bench: _Bench) -> AsyncIterator[_Bench]:
    running = asyncio.create_task(bench.fleet.run())
    try:
        yield bench
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert bench.alive == []


async def test_replicas_that_are_not_wanted_are_not_started() -> None:
    """Of three, one is; with it the fleet is there."""
    async with _running(_Bench(wanted=1)) as bench:
        bench.give_places()
        await bench.fleet.wait_warm()
        assert (bench.alive, bench.warm) == (["ray:0"], ["ray:0"])
        assert [bench.fleet.is_wanted(device) for device in _DEVICES] == [True, False, False]
        assert repr(bench.fleet) == "<Fleet ray:0=up ray:1=parked ray:2=parked>"


async def test_more_come_when_they_are_wanted_and_the_last_go_first() -> None:
    """None of them died, nor has to wait to be started again."""
    async with _running(_Bench(wanted=1)) as bench:
        bench.give_places()
        bench.fleet.want(3)
        await until(lambda: bench.warm == [*_DEVICES])
        bench.fleet.want(1)
        await until(lambda: bench.alive == ["ray:0"])
        bench.fleet.want(2)
        await until(lambda: bench.warm == ["ray:0", "ray:1"])
        assert bench.events(ReplicaParked) == ["ray:1", "ray:2"]
        assert bench.events(ReplicaReady) == ["ray:0", "ray:1", "ray:2", "ray:1"]
        assert bench.events(ReplicaDied) == []


async def test_one_that_goes_does_its_work_first() -> None:
    """It is closed when it has served, and another is not started beside it before, however soon it is wanted again."""
    async with _running(_Bench()) as bench:
        bench.give_places()
        await until(lambda: len(bench.begun) == 3)
        bench.working.clear()
        bench.fleet.want(2)
        await asyncio.sleep(0)
        bench.fleet.want(3)
        await asyncio.sleep(0)
        assert bench.alive == [*_DEVICES]
        bench.working.set()
        await until(lambda: bench.events(ReplicaReady).count("ray:2") == 2)
        assert bench.served == ["ray:2"]
        assert bench.alive == [*_DEVICES]


async def test_one_that_waits_for_a_place_goes_before_those_that_work() -> None:
    """Its wait ends with it, so that a cluster is not asked for a node any more."""
    async with _running(_Bench(enough=2)) as bench:
        bench.give_places("ray:1", "ray:2")
        await bench.fleet.wait_warm()
        bench.fleet.want(2)
        await until(lambda: bench.alive == ["ray:1", "ray:2"])
        assert bench.events(ReplicaDied) == []


async def test_one_that_is_lost_while_it_goes_is_a_death() -> None:
    """Counted as any other, but with no pause behind it: it is started when it is wanted again."""
    async with _running(_Bench()) as bench:
        bench.give_places()
        await until(lambda: len(bench.begun) == 3)
        bench.working.clear()
        bench.fleet.want(2)
        bench.made[2].lost.set_result("killed")
        await until(lambda: bench.events(ReplicaDied) == ["ray:2"])
        assert bench.events(ReplicaQuarantined) == []
        bench.fleet.want(3)
        await until(lambda: bench.warm == [*_DEVICES])


async def test_a_quarantine_ends_when_nobody_wants_the_device() -> None:
    """Its replica died, and it is left alone for an hour; parked and wanted again, it is tried at once."""
    async with _running(_Bench(enough=2)) as bench:
        bench.give_places()
        await bench.fleet.wait_warm()
        await until(lambda: bench.warm == [*_DEVICES])
        bench.made[0].lost.set_result("killed")
        await until(lambda: bench.events(ReplicaQuarantined) == ["ray:0"])
        bench.fleet.want(2)
        assert bench.events(ReplicaParked) == ["ray:0"]
        bench.fleet.want(3)
        await until(lambda: bench.warm == [*_DEVICES])


async def test_a_start_that_fails_is_told_while_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises is a death, and no reason to end."""
    async with _running(_Bench(wanted=1)) as bench:
        bench.give_places()
        await bench.fleet.wait_warm()

        async def start(_: _Replica) -> None:
            raise ReplicaLostError("no luck")

        monkeypatch.setattr(_Replica, "start", start)
        bench.fleet.want(2)
        await until(lambda: bench.events(ReplicaQuarantined) == ["ray:1"])
        assert bench.warm == ["ray:0"]
