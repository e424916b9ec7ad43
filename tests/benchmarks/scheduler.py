"""What the scheduler alone costs a frame: the server's dispatcher, queue and lanes, with replicas that only wait."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from nasfeat_server.engine.interface import ModelDescription, Outputs
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.slots import SlotPool

_BATCH = 8
_BATCH_S = 0.02
_OUTPUTS = ("features",)
_DEVICES = (1, 8, 64, 1000)
_FAR_S = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Processor time of the scheduler, by how many devices there are."""

    devices: int
    frames: int
    cpu_s: float

    @property
    def us_per_frame(self) -> float:
        """Microseconds for each frame."""
        return 1e6 * self.cpu_s / self.frames


async def scheduler_table(rounds: int) -> Table:
    """Measure `rounds` times at every number of devices, in turns."""
    costs: dict[tuple[int, float | None], list[float]] = {}
    for _ in range(rounds):
        for devices, deadline_s in itertools.product(_DEVICES, (None, _FAR_S)):
            cost = await scheduling_cost(devices, frames=max(4000, 20 * devices), deadline_s=deadline_s)
            costs.setdefault((devices, deadline_s), []).append(cost.us_per_frame)
    table = Table(title="The scheduler's processor time, us a frame: median (range)")
    for heading in ("devices", "frames without a deadline", "with one"):
        table.add_column(heading)
    for devices in _DEVICES:
        table.add_row(f"{devices}", *(_told(costs[devices, deadline_s]) for deadline_s in (None, _FAR_S)))
    return table


def _told(figures: list[float]) -> str:
    return f"{statistics.median(figures):.0f} ({min(figures):.0f} to {max(figures):.0f})"


class _Waiting:
    """A replica whose device takes the same time for every batch, and no processor."""

    max_batch_size = _BATCH

    def __init__(self, device: str, batch_s: float) -> None:
        self.device = device
        self._batch_s = batch_s
        self._free_at = 0.0

    async def warm_up(self) -> ModelDescription:
        raise NotImplementedError

    async def run(self, slots: Sequence[int], outputs: Sequence[Outputs]) -> float:
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time()) + self._batch_s
        await asyncio.sleep(self._free_at - loop.time())
        return self._batch_s

    async def close(self) -> None:
        """Do nothing."""


async def scheduling_cost(devices: int, *, frames: int, deadline_s: float | None = None) -> Cost:
    """Keep `devices` busy with the frames of two streams for each, until `frames` are done.

    Devices are slowed down as they become more, so that the load in frames a second stays the same.
    """
    slots = SlotPool(4 * _BATCH * devices)
    dispatcher = Dispatcher(
        slots=slots, buckets=(1, 2, 4, 8), collect=lambda _slot, _nbytes: b"", outage_s=60, observer=_Deaf()
    )
    replicas = [
        asyncio.create_task(dispatcher.serve(_Waiting(f"fake:{number}", _BATCH_S * devices / 8)))
        for number in range(devices)
    ]
    left = itertools.count(1)
    started = time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2 * devices):
            tasks.create_task(_stream(dispatcher, slots, left, frames, deadline_s))
    cost = Cost(devices=devices, frames=frames, cpu_s=time.process_time() - started)
    for replica in replicas:
        replica.cancel()
    await asyncio.gather(*replicas, return_exceptions=True)
    dispatcher.close()
    return cost


async def _stream(
    dispatcher: Dispatcher, slots: SlotPool, numbers: "itertools.count[int]", frames: int, deadline_s: float | None
) -> None:
    """Keep a batch in flight, as a stream with a window does."""
    lane = dispatcher.open_lane(1.0)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(_BATCH):
            tasks.create_task(_one_after_the_other(dispatcher, slots, lane, numbers, frames, deadline_s))
    dispatcher.close_lane(lane)


async def _one_after_the_other(
    dispatcher: Dispatcher,
    slots: SlotPool,
    lane: int,
    numbers: "itertools.count[int]",
    frames: int,
    deadline_s: float | None,
) -> None:
    while next(numbers) <= frames:
        deadline = None
        if deadline_s is not None:
            deadline = time.monotonic() + deadline_s
            dispatcher.check_deadline(lane, deadline)
        slot = await slots.acquire()
        await dispatcher.submit(lane, slot, _OUTPUTS, 0, deadline).done


class _Deaf:
    def observe(self, event: object) -> None:
        """Do nothing."""
