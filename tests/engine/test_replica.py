"""Replica processes: real ones, with the engine that computes nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.devices import Placement, place
from nasfeat_server.engine.engines.fake import FAILING_PIXEL, HANGING_PIXEL, KILLING_PIXEL
from nasfeat_server.engine.fake import fingerprint
from nasfeat_server.engine.interface import EngineOptions
from nasfeat_server.engine.replica import Replica
from nasfeat_server.errors import ConfigurationError, DeviceMemoryError, ExecutionFailedError, ReplicaLostError
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights import Located

_LAYOUT = ArenaLayout(slots=8, image_height=32, image_width=32, result_bytes=8192)


def _make(
    arena: Arena, *, weights: str = "random:0", engine: str = "fake", hang_s: float = 60.0, start_limit_s: float = 60.0
) -> Replica:
    placement: Placement = place(["cpu:0"], usable_cores())[0]
    model = Located(source=weights, location=weights[:100], spec=VARIANTS["cifar"], labels=(), trained=False)
    options = EngineOptions(
        engine=engine, model=model, run_module_graph=False, cores=placement.cores, batch_buckets=(1, 2, 4)
    )
    return Replica(placement=placement, options=options, arena=arena, hang_s=hang_s, start_limit_s=start_limit_s)


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
    with pytest.raises(ConfigurationError, match=r"takes random:SEED or .* not '/nowhere'"):
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


async def test_a_batch_that_does_not_fit_is_told_from_other_failures(arena: Arena, tmp_path: Path) -> None:
    """Out of memory, the engine lives and a smaller batch runs; when the memory is back, the large one does."""
    memory = tmp_path / "memory"
    memory.write_text("4")
    replica = _make(arena, weights=f"sleep:0,memory:{memory}")
    await replica.start()
    await replica.warm_up()
    memory.write_text("2")
    with pytest.raises(DeviceMemoryError, match="4 images do not fit, 2 do"):
        await _run(replica, 0, 1, 2, 3)
    await _run(replica, 0, 1)
    memory.write_text("4")
    await _run(replica, 0, 1, 2, 3)
    await replica.close()


async def test_a_device_too_small_for_the_largest_batch_serves_smaller_ones(arena: Arena) -> None:
    """Out of memory while it warms batches of four: the replica comes up and says that two is the most."""
    replica = _make(arena, weights="sleep:0,memory:2")
    await replica.start()
    await replica.warm_up()
    assert replica.max_batch_size == 2
    await _run(replica, 0, 1)
    await replica.close()


async def test_a_device_too_small_for_one_image_is_refused(arena: Arena) -> None:
    """No restart would help: the reason is the operator's to read."""
    replica = _make(arena, weights="sleep:0,memory:0")
    await replica.start()
    with pytest.raises(ConfigurationError, match="not the memory for one image: 1 images do not fit, 0 do"):
        await replica.warm_up()
    await replica.close()


async def test_a_replica_that_hangs_while_it_starts_is_killed(arena: Arena) -> None:
    """Stopped, not dead, before it is warm: the watchdog of the start ends it."""
    replica = _make(arena, start_limit_s=0.2)
    await replica.start()
    os.kill(replica.pid or 0, signal.SIGSTOP)
    with pytest.raises(ReplicaLostError, match=r"gave no answer for 0\.2 s"):
        await replica.warm_up()
    assert await replica.wait_lost() == "hung"
    await replica.close()


async def test_a_replica_that_is_stopped_is_killed(arena: Arena) -> None:
    """SIGSTOP under a batch, as a debugger or a full cgroup does it: the watchdog ends the process."""
    replica = _make(arena, hang_s=0.2)
    await replica.start()
    await replica.warm_up()
    os.kill(replica.pid or 0, signal.SIGSTOP)
    with pytest.raises(ReplicaLostError, match=r"gave no answer for 0\.2 s"):
        await _run(replica, 0)
    assert await replica.wait_lost() == "hung"
    await replica.close()


async def test_a_replica_killed_while_it_starts_is_lost(arena: Arena) -> None:
    """SIGKILL before it is warm: the start fails at once and is not taken for a refusal."""
    replica = _make(arena)
    await replica.start()
    os.kill(replica.pid or 0, signal.SIGKILL)
    with pytest.raises(ReplicaLostError, match="died while it worked"):
        await replica.warm_up()
    assert await replica.wait_lost() == "killed"
    await replica.close()


@pytest.mark.parametrize("weights", ["sleep:", "sleep:1+", "sleep:0,memory:", "hub:nasnet"])
async def test_a_wrong_cost_is_refused(arena: Arena, weights: str) -> None:
    """The fake engine says what it takes."""
    replica = _make(arena, weights=weights)
    await replica.start()
    with pytest.raises(ConfigurationError, match=r"takes random:SEED or sleep:SECONDS\[\+SECONDS\]\[,memory:N\]"):
        await replica.warm_up()
    await replica.close()
