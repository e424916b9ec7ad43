"""The experiments: loads, a flood, a source that is too fast, and devices divided among servers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tests.simulation.devices import Device, capacity
from tests.simulation.disciplines import Discipline, DynamicBatching, Fifo
from tests.simulation.ours import Ours
from tests.simulation.streams import Stream, seeded
from tests.simulation.summary import Summary, ages, summarize, waits
from tests.simulation.workload import flooded, mixed, too_fast
from tests.simulation.world import Record, World, together

DISCIPLINES: tuple[Callable[[Sequence[Device]], Discipline], ...] = (Ours, Fifo, DynamicBatching)
LOADS = (0.5, 0.8, 0.95, 1.2)
FLOODED_LOAD = 0.8
"""What the 16 well-behaved streams offer together, as a part of the capacity."""
DIVIDED_LOAD = 0.8
"""What all streams offer together where the devices are divided among servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """One discipline under one load."""

    discipline: str
    load: float
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodRun:
    """The 99th percentile of the queue wait of the 16 well-behaved streams, without and with the flood beside them.

    Where there are nearly as many devices as streams, the 16 hardly wait alone, since one device or another is free.
    Beside a flood none is, and what a frame waits for is the rest of a batch: no discipline that keeps every device
    busy can spare it that.
    """

    devices: int
    discipline: str
    alone_s: float
    flooded_s: float

    @property
    def ratio(self) -> float:
        """How many times longer the flood makes them wait."""
        return self.flooded_s / self.alone_s


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """The age of a live camera's results, from capture until done, as multiples of a single frame's mean time."""

    discipline: str
    median_age: float
    oldest_age: float
    frames_per_s: float


def _run(
    make: Callable[[Sequence[Device]], Discipline],
    fleet: Sequence[Device],
    streams: Sequence[Stream],
    seed: int,
    seconds: float,
) -> tuple[str, Record]:
    discipline = make(fleet)
    world = World(fleet=fleet, streams=streams, discipline=discipline, seed=seed, horizon_s=seconds)
    return discipline.name, world.run()


def under_loads(fleet: Sequence[Device], *, streams: int, seed: int, seconds: float) -> Iterator[LoadRun]:
    """Run the mixed workload under every load and discipline."""
    for load in LOADS:
        workload = mixed(fleet, streams=streams, load=load, seed=seed, seconds=seconds)
        for make in DISCIPLINES:
            name, record = _run(make, fleet, workload, seed, seconds)
            yield LoadRun(discipline=name, load=load, summary=summarize(record))


def beside_a_flood(
    make: Callable[[Sequence[Device]], Discipline], fleet: Sequence[Device], *, seed: int, seconds: float
) -> FloodRun:
    """Run the well-behaved streams without and with the flood."""
    waited = []
    for flood in (False, True):
        name, record = _run(make, fleet, flooded(fleet, load=FLOODED_LOAD, flood=flood), seed, seconds)
        quiet = [frame for frame in record.frames if record.streams[frame.stream].kind == "quiet"]
        waited.append(float(np.percentile(waits(quiet), 99)))
    return FloodRun(devices=len(fleet), discipline=name, alone_s=waited[0], flooded_s=waited[1])


def too_fast_for(
    make: Callable[[Sequence[Device]], Discipline], device: Device, *, seed: int, seconds: float
) -> LiveRun:
    """Run one device and one live camera three times as fast."""
    name, record = _run(make, (device,), too_fast(device), seed, seconds)
    # Nothing newer comes after the last frame, which alone may wait for a whole batch.
    aged = np.array(ages(record.frames[:-1])) / device.mean_s(1)
    return LiveRun(
        discipline=name,
        median_age=float(np.median(aged)),
        oldest_age=float(aged.max()),
        frames_per_s=len(aged) / seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DividedRun:
    """The mixed workload on the same devices, divided among servers that know nothing of each other.

    Attributes:
        servers: how many.
        placed: how a stream comes to its server, where it stays; see `PLACINGS`.
    """

    servers: int
    placed: str
    summary: Summary


PLACINGS = ("at random", "by number", "by load")
"""As a hash of the connection does, to the server with the fewest streams for its devices, or to the one that is
offered the least for what it can do when the stream opens."""


def divided(
    fleet: Sequence[Device], *, servers: int, placed: str, streams: int, seed: int, seconds: float
) -> DividedRun:
    """Run the mixed workload at `DIVIDED_LOAD` on `servers` servers, each with its part of the devices."""
    workload = list(mixed(fleet, streams=streams, load=DIVIDED_LOAD, seed=seed, seconds=seconds))
    seeded(seed, "opening").shuffle(workload)
    parts = [fleet[n * len(fleet) // servers : (n + 1) * len(fleet) // servers] for n in range(servers)]
    homes = _place(workload, parts, placed, seed, seconds)
    records = []
    for number, part in enumerate(parts):
        own = [stream for stream, home in zip(workload, homes, strict=True) if home == number]
        records.append(_run(Ours, part, own, seed + number, seconds)[1])
    return DividedRun(servers=servers, placed=placed, summary=summarize(together(records)))


def _place(
    workload: Sequence[Stream], parts: Sequence[Sequence[Device]], placed: str, seed: int, seconds: float
) -> list[int]:
    """Give each stream a server, in the order in which they open."""
    chance = seeded(seed, f"placing {len(parts)}")
    if placed == "at random":
        return [chance.randrange(len(parts)) for _ in workload]
    room = [capacity(part) if placed == "by load" else len(part) for part in parts]
    taken = [0.0] * len(parts)
    homes = []
    for stream in workload:
        home = min(range(len(parts)), key=lambda number: (taken[number] / room[number], number))
        taken[home] += stream.arrivals.offered(seconds) if placed == "by load" else 1
        homes.append(home)
    return homes
