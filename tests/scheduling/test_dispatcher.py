"""Works, batches and failures through the dispatcher, with executors that are scripted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np
import pytest

from eventlog import EventLog
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.fake import FakeExecutor, fingerprint
from nasfeat_server.engine.interface import Outputs
from nasfeat_server.errors import ExecutionFailedError, ReplicaLostError
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.work import Execution, Work
from nasfeat_server.telemetry.events import BatchFinished

_OUTAGE_S = 0.05
_LAYOUT = ArenaLayout(slots=16, image_height=4, image_width=4, result_bytes=4096)


class _Bench:
    """A dispatcher over a small arena, and everything a test looks at."""

    def __init__(self) -> None:
        self.arena = Arena.create(_LAYOUT)
        self.slots = SlotPool(_LAYOUT.slots)
        self.log = EventLog()
        self.dispatcher = Dispatcher(
            slots=self.slots,
            buckets=(1, 2, 4),
            collect=self.arena.take_results,
            outage_s=_OUTAGE_S,
            observer=self.log,
        )
        self.lane = self.dispatcher.open_lane(1.0)

    async def submit(self, value: int, lane: int | None = None, deadline: float | None = None) -> Work:
        slot = await self.slots.acquire()
        self.arena.images[slot] = value
        return self.dispatcher.submit(self.lane if lane is None else lane, slot, ("global_pool",), 768 * 4, deadline)

    def executor(self, device: str = "fake:0") -> FakeExecutor:
        return FakeExecutor(self.arena, device=device)


@pytest.fixture
def bench() -> _Bench:
    """Give a fresh dispatcher over a small arena."""
    return _Bench()


@contextlib.asynccontextmanager
async def _serving(bench: _Bench, *executors: FakeExecutor) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        serving = [tasks.create_task(bench.dispatcher.serve(executor)) for executor in executors]
        yield
        for task in serving:
            task.cancel()


def _expected(value: int) -> bytes:
    images = np.full((1, _LAYOUT.image_height, _LAYOUT.image_width, 3), value, np.uint8)
    return fingerprint(images, 768).tobytes()


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_every_image_gets_its_own_features_and_its_slot_back(bench: _Bench) -> None:
    """Twelve images through batches of up to four: each answer is that image's, no slot stays taken."""
    async with _serving(bench, bench.executor()):
        works = [await bench.submit(value) for value in range(12)]
        executions = [await work.done for work in works]
    assert [execution.results for execution in executions] == [_expected(value) for value in range(12)]
    assert bench.slots.in_use == 0
    assert bench.dispatcher.depth == 0


async def test_batches_grow_while_the_device_is_busy(bench: _Bench) -> None:
    """The first frame starts at once; those that come meanwhile go together, and the events say why."""
    executor = bench.executor()
    executor.gate.clear()
    async with _serving(bench, executor):
        works = [await bench.submit(0)]
        await _settle()
        works += [await bench.submit(value) for value in range(1, 6)]
        executor.gate.set()
        await asyncio.gather(*(work.done for work in works))
    batches = [event for event in bench.log.events if isinstance(event, BatchFinished)]
    assert [(batch.size, batch.close_reason) for batch in batches] == [(1, "idle"), (4, "full"), (1, "idle")]


async def test_an_abandoned_image_that_waits_never_reaches_the_device(bench: _Bench) -> None:
    """Work that nobody waits for leaves the queue at once and frees its slot."""
    executor = bench.executor()
    executor.gate.clear()
    async with _serving(bench, executor):
        first = await bench.submit(1)
        await _settle()
        second = await bench.submit(2)
        bench.dispatcher.abandon(second)
        assert bench.slots.in_use == 1
        executor.gate.set()
        await first.done
    assert executor.batches == [(first.slot,)]


async def test_an_abandoned_image_on_the_device_keeps_its_slot_until_the_device_is_done(bench: _Bench) -> None:
    """A replica may still write to the slot: it is free only after the batch."""
    executor = bench.executor()
    executor.gate.clear()
    async with _serving(bench, executor):
        work = await bench.submit(1)
        await _settle()
        bench.dispatcher.abandon(work)
        assert bench.slots.in_use == 1
        executor.gate.set()
        await _settle()
        assert bench.slots.in_use == 0


async def test_a_cancelled_waiter_does_not_disturb_its_batch(bench: _Bench) -> None:
    """Setting a result on a future that its waiter has cancelled must not end the batching task."""
    executor = bench.executor()
    executor.gate.clear()
    async with _serving(bench, executor):
        works = [await bench.submit(value) for value in range(3)]
        await _settle()
        works[0].done.cancel()
        works[1].done.cancel()
        executor.gate.set()
        assert (await works[2].done).results == _expected(2)
        assert (await (await bench.submit(9)).done).results == _expected(9)


async def test_a_lost_batch_runs_on_another_replica(bench: _Bench) -> None:
    """A replica dies under its batch: the other one answers it, and nobody who waits hears of it."""
    dying, sound = bench.executor("fake:0"), bench.executor("fake:1")
    dying.failures.append(ReplicaLostError("died"))
    async with _serving(bench, dying):
        work = await bench.submit(1)
        await _settle()
        async with _serving(bench, sound):
            execution = await work.done
    assert execution.device == "fake:1"
    assert bench.slots.in_use == 0


async def test_an_image_that_kills_ends_up_alone_and_fails_alone(bench: _Bench) -> None:
    """After two deaths its batch is run one by one; the third death is the killer's own, the others succeed."""
    executors = [bench.executor(f"fake:{number}") for number in range(4)]
    killer = [0]

    def script(executor: FakeExecutor) -> FakeExecutor:
        run = executor.run

        async def run_or_die(slots: list[int], outputs: list[Outputs]) -> float:
            if any(bench.arena.images[slot, 0, 0, 0] == 66 for slot in slots):
                killer[0] += 1
                raise ReplicaLostError("died")
            return await run(slots, outputs)

        executor.run = run_or_die  # type: ignore[method-assign,assignment]
        return executor

    works = [await bench.submit(value) for value in (1, 66, 2, 3)]
    async with contextlib.AsyncExitStack() as stack:
        for executor in executors:
            await stack.enter_async_context(_serving(bench, script(executor)))
        results = await asyncio.gather(*(work.done for work in works), return_exceptions=True)
    assert isinstance(results[1], ReplicaLostError)
    assert [r.results for r in results if isinstance(r, Execution)] == [_expected(value) for value in (1, 2, 3)]
    assert killer == [3]
    assert bench.slots.in_use == 0


async def test_the_batch_that_waited_beside_the_fatal_one_is_not_blamed(bench: _Bench) -> None:
    """A prefetched batch lost with the replica before it began has not been tried."""
    executor = bench.executor()
    executor.failures.append(ReplicaLostError("gone", started=False))
    async with _serving(bench, executor):
        work = await bench.submit(1)
        await _settle()
        assert work.attempts == 0
        async with _serving(bench, bench.executor("fake:1")):
            await work.done


async def test_an_outage_of_several_replicas_ends_with_the_first_that_comes_back(bench: _Bench) -> None:
    """Both are lost under their batches before either is gone; what is waited for afterwards is not given up."""
    lost = [bench.executor(f"fake:{number}") for number in range(2)]
    for executor in lost:
        executor.failures.append(ReplicaLostError("gone", started=False))
    async with _serving(bench, *lost):
        work = await bench.submit(1)
        await _settle()
    slow = bench.executor("fake:2")
    slow.gate.clear()
    async with _serving(bench, slow):
        # Timers that were set before have run then.
        await asyncio.sleep(_OUTAGE_S)
        bench.dispatcher.check_up()
        slow.gate.set()
        await work.done


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
async def test_a_batch_taken_in_the_moment_of_a_death_is_not_lost(bench: _Bench, turns: int) -> None:
    """Serving is cancelled because the replica died, in any turn after it took a batch: another replica runs it."""
    dying = bench.executor()
    dying.gate.clear()
    serving = asyncio.ensure_future(bench.dispatcher.serve(dying))
    await _settle()
    work = await bench.submit(1)
    for _ in range(turns):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    async with _serving(bench, bench.executor("fake:1")):
        execution = await work.done
    assert execution.device == "fake:1"
    assert bench.slots.in_use == 0


@pytest.mark.parametrize("turns", range(5))
async def test_a_replica_that_is_sent_away_finishes_what_it_has(bench: _Bench, turns: int) -> None:
    """In any turn after it was given a batch, or before: each image is answered once, and new ones go elsewhere."""
    leaving, leave = bench.executor(), asyncio.Event()
    leaving.gate.clear()
    serving = asyncio.ensure_future(bench.dispatcher.serve(leaving, leave))
    await _settle()
    works = [await bench.submit(value) for value in range(6)]
    for _ in range(turns):
        await asyncio.sleep(0)
    leave.set()
    await _settle()
    assert bench.dispatcher.look().replicas == 0
    async with _serving(bench, bench.executor("fake:1")):
        works.append(await bench.submit(6))
        assert (await works[-1].done).device == "fake:1"
        assert not serving.done()
        leaving.gate.set()
        executions = [await work.done for work in works]
        await serving
    assert [execution.results for execution in executions] == [_expected(value) for value in range(7)]
    assert [execution.device for execution in executions].count("fake:0") == sum(map(len, leaving.batches)) > 0
    assert bench.slots.in_use == 0


async def test_an_idle_replica_that_is_sent_away_goes_at_once(bench: _Bench) -> None:
    """It waits for a batch, and is given none any more."""
    leave = asyncio.Event()
    serving = asyncio.ensure_future(bench.dispatcher.serve(bench.executor(), leave))
    await _settle()
    leave.set()
    await serving


async def test_an_image_that_the_engine_refuses_fails_alone(bench: _Bench) -> None:
    """When a batch fails on a living replica, its halves run by themselves; what was sound succeeds."""
    executor = bench.executor()
    executor.gate.clear()
    async with _serving(bench, executor):
        first = await bench.submit(0)
        await _settle()
        works = [await bench.submit(value) for value in range(1, 5)]
        await _settle()
        executor.failures += [None, ExecutionFailedError("bad batch")]
        executor.gate.set()
        await first.done
        results = await asyncio.gather(*(work.done for work in works), return_exceptions=True)
    assert all(isinstance(result, Execution) for result in results)
    assert [len(batch) for batch in executor.batches] == [1, 4, 2, 2]


async def test_halves_stay_apart_when_their_replica_dies(bench: _Bench) -> None:
    """The halves of a failed batch are never mixed again, also after a replica was lost in between."""
    dying, sound = bench.executor("fake:0"), bench.executor("fake:1")
    dying.failures += [ExecutionFailedError("bad batch"), ReplicaLostError("died")]
    works = [await bench.submit(value) for value in range(4)]
    async with _serving(bench, dying):
        await _settle()
        async with _serving(bench, sound):
            await asyncio.gather(*(work.done for work in works))
    halves = {tuple(work.slot for work in works[:2]), tuple(work.slot for work in works[2:])}
    assert set(sound.batches) == halves


async def test_frames_of_one_stream_reach_the_device_in_order(bench: _Bench) -> None:
    """A stream's frames are taken first come, first served, however batches are cut."""
    executor = bench.executor()
    async with _serving(bench, executor):
        works = [await bench.submit(value) for value in range(11)]
        await asyncio.gather(*(work.done for work in works))
    assert [slot for batch in executor.batches for slot in batch] == [work.slot for work in works]
