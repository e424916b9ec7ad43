"""Devices whose replicas die: restarts, and quarantine for those that do nothing else."""

import asyncio

import pytest

from eventlog import EventLog
from nasfeat_server.engine import restarts
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.devices import Placement, place
from nasfeat_server.engine.fleet import Fleet
from nasfeat_server.engine.interface import EngineOptions, Executor
from nasfeat_server.engine.replica import Replica
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights import Located
from nasfeat_server.telemetry.events import (
    ReplicaDied,
    ReplicaEnded,
    ReplicaQuarantined,
    ReplicaReady,
    ReplicaStarted,
)
from serving import until


class _Mortal(Replica):
    """A replica that is killed as soon as it is warm."""

    async def wait_lost(self) -> str:
        """Die, and tell how."""
        self._kill()
        return await super().wait_lost()


@pytest.mark.parametrize("deaths", [1, 3])
async def test_a_device_whose_replicas_do_nothing_but_die_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    """After so many deaths it is quarantined, then tried once, and quarantined again when that one dies too."""
    monkeypatch.setattr(restarts, "FIRST_PAUSE_S", 0.001)
    arena = Arena.create(ArenaLayout(slots=2, image_height=32, image_width=32, result_bytes=8192))
    log, counts = EventLog(), list[int]()
    model = Located(source="random:0", location="random:0", spec=VARIANTS["cifar"], labels=(), trained=False)
    placements = place(["cpu:0"], usable_cores())
    options = EngineOptions(
        engine="fake", model=model, run_module_graph=False, cores=placements[0].cores, batch_buckets=(1,)
    )

    async def serve(_: Executor, leave: asyncio.Event) -> None:
        await leave.wait()

    fleet = Fleet(
        placements=placements,
        policy=restarts.RestartPolicy(quarantine_after=deaths, quarantine_s=0.01),
        make=lambda place: _Mortal(placement=place, options=options, arena=arena, hang_s=60, start_limit_s=60),
        serve=serve,
        observer=log,
        on_change=counts.append,
    )
    running = asyncio.create_task(fleet.run())
    await until(lambda: sum(isinstance(event, ReplicaQuarantined) for event in log.events) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    life = [ReplicaStarted, ReplicaReady, ReplicaEnded, ReplicaDied]
    expected = [*life * deaths, ReplicaQuarantined, *life, ReplicaQuarantined]
    assert [type(event) for event in log.events][: len(expected)] == expected
    assert counts[:2] == [1, 0]


async def test_a_fleet_may_be_ready_before_its_last_replica() -> None:
    """On a cluster the others wait for their places meanwhile: enough is what the operator says."""
    arena = Arena.create(ArenaLayout(slots=2, image_height=32, image_width=32, result_bytes=8192))
    model = Located(source="random:0", location="random:0", spec=VARIANTS["cifar"], labels=(), trained=False)
    options = EngineOptions(engine="fake", model=model, run_module_graph=False, cores=(), batch_buckets=(1,))

    class _Late(Replica):
        async def start(self) -> int:
            if self.device == "cpu:1":
                await asyncio.Event().wait()
            return await super().start()

    async def serve(_: Executor, leave: asyncio.Event) -> None:
        await leave.wait()

    fleet = Fleet(
        placements=[Placement(device=device, cores=()) for device in ("cpu:0", "cpu:1")],
        enough=1,
        policy=restarts.RestartPolicy(),
        make=lambda place: _Late(placement=place, options=options, arena=arena, hang_s=60, start_limit_s=60),
        serve=serve,
        observer=EventLog(),
        on_change=lambda _: None,
    )
    running = asyncio.create_task(fleet.run())
    await fleet.wait_warm()
    assert (fleet.is_warm("cpu:0"), fleet.is_warm("cpu:1")) == (True, False)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
