"""The scheduler's stand-ins in a front end: what is owned comes back, and limits are those of the whole server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from eventlog import EventLog
from gated import GatedExecutor
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.errors import DeadlinePassedError, OverloadedError
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.remote.link import Link
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.windows import WindowKeeper
from remote_parts import Parts, StandIns, stand_ins
from serving import until

_SLOTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """A scheduler with one device, and two front ends."""

    parts: Parts
    device: GatedExecutor
    ends: tuple[StandIns, StandIns]


@pytest.fixture
async def server() -> AsyncIterator[_Server]:
    """Serve until the test ends."""
    arena = Arena.create(ArenaLayout(slots=_SLOTS, image_height=32, image_width=32, result_bytes=2**16))
    slots, windows = SlotPool(_SLOTS), WindowKeeper(_SLOTS)
    dispatcher = Dispatcher(slots=slots, buckets=(1,), collect=arena.take_results, outage_s=60.0, observer=EventLog())
    parts = Parts(slots=slots, dispatcher=dispatcher, windows=windows)
    device = GatedExecutor(arena, device="fake:0", max_batch_size=1, busy_s=0.01)
    shape = (await device.warm_up()).output_shapes
    assert shape
    serving = asyncio.create_task(dispatcher.serve(device))
    ends = [await stand_ins(parts, arena, max_streams=2) for _ in range(2)]
    yield _Server(parts=parts, device=device, ends=(ends[0], ends[1]))
    for end in ends:
        if not end.lost.is_set():
            await end.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    dispatcher.close()
    arena.close()


async def test_first_come_is_first_served_over_all_front_ends(server: _Server) -> None:
    """A slot that one gives back goes to whoever of both has waited longest."""
    one, other = server.ends
    held = [await one.slots.acquire() for _ in range(_SLOTS)]
    waiting = []
    for end in (other, one, other):
        waiting.append(asyncio.ensure_future(end.slots.acquire()))
        await until(lambda: server.parts.slots.waiting == len(waiting))
    for number, waiter in enumerate(waiting):
        one.slots.release(held[number])
        assert await waiter == held[number]
    with pytest.raises(OverloadedError, match="all 4 slots are taken and 0 images wait for one, the limit is 0"):
        await other.slots.acquire(max_waiting=0)


async def test_a_slot_that_comes_too_late_goes_back(server: _Server) -> None:
    """Whoever leaves the line before, while or after its slot is on its way costs the arena none."""
    one, other = server.ends
    for turns in range(12):
        held = [await one.slots.acquire() for _ in range(_SLOTS)]
        waiter = asyncio.ensure_future(other.slots.acquire())
        await until(lambda: server.parts.slots.waiting == 1)
        for slot in held:
            one.slots.release(slot)
        for _ in range(turns):
            await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        if not waiter.cancelled():
            other.slots.release(waiter.result())
        await until(lambda: server.parts.slots.in_use == 0)
        assert other.slots.in_use == 0


async def test_a_front_end_that_dies_leaves_nothing_behind(server: _Server) -> None:
    """Slots held, queued, on the device and done, places in the line, lanes and windows: all come back."""
    one, other = server.ends
    await one.windows.grant(ceiling=4, weight=1.0, announce=lambda _: None)
    lane = one.dispatcher.open_lane(1.0)
    for _ in range(3):
        one.dispatcher.submit(lane, await one.slots.acquire(), ("global_pool",), 4 * 768)
    await one.slots.acquire()
    waiting = asyncio.ensure_future(one.slots.acquire())
    await until(lambda: server.parts.slots.waiting == 1 and server.parts.dispatcher.depth >= 1)
    await one.close()
    assert (server.parts.windows.count, server.parts.slots.waiting, server.parts.dispatcher.depth) == (0, 0, 0)
    # A replica still writes to what it was given.
    assert server.parts.slots.in_use in {1, 2}
    server.device.turnstile.admit(2)
    await until(lambda: server.parts.slots.in_use == 0)
    assert await other.slots.acquire() in range(_SLOTS)
    waiting.cancel()


async def test_what_is_abandoned_at_any_moment_frees_its_slot(server: _Server) -> None:
    """Before the device, on it, or with the result on its way."""
    one, _ = server.ends
    lane = one.dispatcher.open_lane(1.0)
    server.device.turnstile.admit(100)
    for turns in range(0, 40, 2):
        work = one.dispatcher.submit(lane, await one.slots.acquire(), ("global_pool",), 4 * 768)
        for _ in range(turns):
            await asyncio.sleep(0)
        one.dispatcher.abandon(work)
        await until(lambda: server.parts.slots.in_use == 0)
        await until(lambda: one.slots.in_use == 0)


async def test_the_limit_of_streams_is_over_all_front_ends(server: _Server) -> None:
    """The third stream is refused whichever front end it comes to, and let in when another has gone."""
    one, other = server.ends
    first = await one.windows.grant(ceiling=2, weight=1.0, announce=lambda _: None)
    await other.windows.grant(ceiling=2, weight=1.0, announce=lambda _: None)
    for end in server.ends:
        with pytest.raises(OverloadedError, match="2 streams are open, which is the limit"):
            await end.windows.grant(ceiling=2, weight=1.0, announce=lambda _: None)
    one.windows.close(first)
    await other.windows.grant(ceiling=2, weight=1.0, announce=lambda _: None)


async def test_windows_are_shared_by_what_streams_of_all_front_ends_use(server: _Server) -> None:
    """A stream beside another one gets its part, and the whole again, when that has used nothing."""
    one, other = server.ends
    told: list[int] = []
    window = await one.windows.grant(ceiling=4, weight=1.0, announce=told.append)
    assert window.size == 4
    beside = await other.windows.grant(ceiling=4, weight=1.0, announce=lambda _: None)
    assert beside.size == 2
    for _ in range(4):
        await window.enter()
    one.windows.report()
    await until(lambda: max(other.claim().peak for other in server.parts.windows._listeners) == 4)
    other.windows.close(beside)
    await until(lambda: server.parts.windows.count == 1)
    server.parts.windows.adjust()
    assert window.size == 4


async def test_a_deadline_that_cannot_be_met_is_refused_by_the_scheduler(server: _Server) -> None:
    """It knows what waits; the image's slot is free again."""
    one, _ = server.ends
    lane = one.dispatcher.open_lane(1.0)
    late = asyncio.get_running_loop().time() - 1.0
    work = one.dispatcher.submit(lane, await one.slots.acquire(), ("global_pool",), 4 * 768, late)
    with pytest.raises(DeadlinePassedError):
        await work.done
    await until(lambda: server.parts.slots.in_use == 0)


async def test_a_message_that_nobody_knows_ends_the_link(server: _Server) -> None:
    """Both ends are one program: what is unknown is a fault, and is not passed over."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    one, _ = server.ends
    assert isinstance(one.far, Link)
    one.far.send("nonsense")
    await one.lost.wait()


async def test_what_comes_late_on_a_channel_that_is_shut_is_dropped(server: _Server) -> None:
    """Messages of a version that has left were on their way; those of others are heard, in their order."""
    one, _ = server.ends
    heard: list[str] = []
    send, other = (one.far.open(channel, {"said": heard.append}) for channel in (1, 2))
    near = [one.near.open(channel, {"said": heard.append}) for channel in (1, 2)]
    one.near.shut(1)
    send("said", "late")
    other("said", "heard")
    await until(lambda: bool(heard))
    one.far.shut(1)
    near[0]("said", "later")
    near[1]("said", "heard too")
    await until(lambda: len(heard) > 1)
    assert heard == ["heard", "heard too"]
    assert not one.lost.is_set()
