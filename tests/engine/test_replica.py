"""Replica processes: real ones, with the engine that computes nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import numpy as np
import pytest

from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.devices import Placement, place
from nasfeat_server.engine.engines.fake import FAILING_PIXEL, HANGING_PIXEL, KILLING_PIXEL
from nasfeat_server.engine.fake import fingerprint
from nasfeat_server.engine.interface import EngineOptions
from nasfeat_server.engine.replica import Replica
from nasfeat_server.errors import ConfigurationError, ExecutionFailedError, ReplicaLostError
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights import Located

_LAYOUT = ArenaLayout(slots=8, image_height=32, image_width=32, result_bytes=8192)


def _make(arena: Arena, *, weights: str = "random:0", engine: str = "fake", hang_s: float = 60.0) -> Replica:
    placement: Placement = place(["cpu:0"])[0]
    model = Located(source=weights, location=weights[:100], spec=VARIANTS["cifar"], labels=(), trained=False)
    options = EngineOptions(
        engine=engine, model=model, run_module_graph=False, cores=placement.cores, batch_buckets=(1, 2, 4)
    )
    return Replica(placement=placement, options=options, arena=arena, hang_s=hang_s)


async def _run(replica: Replica, *slots: int) -> float:
    return await replica.run(slots, [("global_pool",)] * len(slots))


@pytest.fixture
def arena() -> Arena:
    """Give a small arena of distinct random images."""
    arena = Arena.create(_LAYOUT)
    arena.images[:] = np.random.default_rng(0).integers(0, 250, arena.images.shape)
    return arena


@pytest.fixture
async def replica(arena: Arena) -> AsyncIterator[Replica]:
    """Give a warm replica."""
    replica = _make(arena)
    await replica.start()
    await replica.warm_up()
    yield replica
    await replica.close()


async def test_features_come_back_through_shared_memory(arena: Arena, replica: Replica) -> None:
    """The process reads images from the arena and leaves each one's vector in its own slot."""
    await _run(replica, 5, 0, 3)
    expected = fingerprint(arena.images, 768)
    for slot in (0, 3, 5):
        assert arena.take_results(slot, 768 * 4) == expected[slot].tobytes()
    for slot in (1, 2, 4, 6, 7):
        assert not any(arena.take_results(slot, _LAYOUT.result_bytes))


async def test_each_image_gets_the_outputs_asked_for_it(arena: Arena, replica: Replica) -> None:
    """Images of one batch may want different outputs: each finds its own, one behind the other, in its order."""
    await replica.run([0, 1], [("global_pool", "Logits"), ("Logits", "global_pool")])
    vectors, logits = fingerprint(arena.images, 768), fingerprint(arena.images, 10)
    assert arena.take_results(0, 778 * 4) == vectors[0].tobytes() + logits[0].tobytes()
    assert arena.take_results(1, 778 * 4) == logits[1].tobytes() + vectors[1].tobytes()


async def test_two_batches_at_once_are_answered_in_their_order(arena: Arena, replica: Replica) -> None:
    """One batch may wait beside the one that runs, and each call gets its own answer."""
    arena.images[1, 0, 0] = FAILING_PIXEL
    results = await asyncio.gather(_run(replica, 0), _run(replica, 1), _run(replica, 2), return_exceptions=True)
    assert [type(result) for result in results] == [float, ExecutionFailedError, float]


async def test_an_engine_that_raises_lives_on(arena: Arena, replica: Replica) -> None:
    """A failed batch is told with the engine's own words, and the next one runs."""
    arena.images[0, 0, 0] = FAILING_PIXEL
    with pytest.raises(ExecutionFailedError, match="ValueError: the batch holds an image with the failing pixel"):
        await _run(replica, 0)
    await _run(replica, 1)


async def test_a_death_blames_the_batch_that_ran_and_not_the_one_beside_it(arena: Arena, replica: Replica) -> None:
    """The process dies under its batch: that call says so, the waiting one says that it never began."""
    arena.images[0, 0, 0] = KILLING_PIXEL
    died, waited = await asyncio.gather(_run(replica, 0), _run(replica, 1), return_exceptions=True)
    assert isinstance(died, ReplicaLostError)
    assert isinstance(waited, ReplicaLostError)
    assert (died.started, waited.started) == (True, False)
    assert await replica.wait_lost() == "killed"


async def test_an_idle_death_is_noticed(replica: Replica) -> None:
    """Kill -9 of a replica with nothing to do is found out without a batch."""
    assert replica.pid
    os.kill(replica.pid, signal.SIGKILL)
    assert await replica.wait_lost() == "killed"
    with pytest.raises(ReplicaLostError, match="cpu:0 is gone"):
        await _run(replica, 0)


async def test_a_hung_replica_is_killed(arena: Arena) -> None:
    """A batch without an answer in time ends the process, and the cause is told apart from other deaths."""
    replica = _make(arena, hang_s=0.2)
    await replica.start()
    await replica.warm_up()
    arena.images[0, 0, 0] = HANGING_PIXEL
    with pytest.raises(ReplicaLostError, match=r"gave no answer for 0\.2 s"):
        await _run(replica, 0)
    assert await replica.wait_lost() == "hung"
    await replica.close()


async def test_weights_that_do_not_load_refuse_the_start(arena: Arena) -> None:
    """What the engine says of its weights reaches the operator."""
    replica = _make(arena, weights="/nowhere")
    await replica.start()
    with pytest.raises(ConfigurationError, match="takes random:SEED or sleep:SECONDS, not '/nowhere'"):
        await replica.warm_up()
    await replica.close()


async def test_a_long_refusal_arrives_whole(arena: Arena) -> None:
    """A list of everything that is wrong with a checkpoint may be long: no line is too long for the pipe."""
    replica = _make(arena, weights="x" * 100_000)
    await replica.start()
    with pytest.raises(ConfigurationError, match=r"not 'x{100000}'"):
        await replica.warm_up()
    await replica.close()


async def test_what_the_process_writes_is_kept_for_the_log(arena: Arena) -> None:
    """A traceback of the engine does not go to the terminal: its last lines are there when somebody asks."""
    replica = _make(arena)
    await replica.start()
    relaying = asyncio.ensure_future(replica.relay_log())
    await replica.warm_up()
    arena.images[0, 0, 0] = FAILING_PIXEL
    with pytest.raises(ExecutionFailedError):
        await _run(replica, 0)
    await replica.close()
    await relaying
    assert replica.last_words.endswith("ValueError: the batch holds an image with the failing pixel")


async def test_close_ends_the_process_and_calls_under_way(arena: Arena) -> None:
    """After close there is no process, and a batch that was running is reported lost."""
    replica = _make(arena, weights="sleep:0.2")
    await replica.start()
    await replica.warm_up()
    running = asyncio.ensure_future(_run(replica, 0))
    await asyncio.sleep(0)
    await replica.close()
    with pytest.raises(ReplicaLostError):
        await running
    assert replica.pid
    with pytest.raises(ProcessLookupError):
        os.kill(replica.pid, 0)
