"""The contract of executors, held by replicas in actors; without Ray, which `tests/failures/test_ray_nodes.py` has."""

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from nasfeat_server.engine import ray_replica, remote_replica
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.engines.fake import FAILING_PIXEL, FakeEngine
from nasfeat_server.engine.fake import fingerprint
from nasfeat_server.engine.interface import EngineOptions
from nasfeat_server.engine.ray_replica import Patience, RayReplica
from nasfeat_server.engine.shipping import Shipment
from nasfeat_server.errors import ConfigurationError, DeviceMemoryError, ExecutionFailedError, ReplicaLostError
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights import Located
from near_actors import NearActor
from serving import until

_LAYOUT = ArenaLayout(slots=64, image_height=32, image_width=32, result_bytes=8192)


class _Bench:
    """A replica, its actor, and the arena that they work on."""

    def __init__(self, weights: str = "random:0", hang_s: float = 60.0, place_s: float | None = None) -> None:
        self.arena = Arena.create(_LAYOUT)
        self.arena.images[:] = np.random.default_rng(0).integers(0, 250, self.arena.images.shape)
        self.actor = NearActor()
        model = Located(source=weights, location=weights, spec=VARIANTS["cifar"], labels=(), trained=False)
        options = EngineOptions(
            engine="fake",
            model=model,
            run_module_graph=False,
            cores=(),
            batch_buckets=(1, 2, 4, 64),
        )
        self.replica = RayReplica(
            device="ray:0",
            kind="gpu",
            cores=0,
            options=options,
            arena=self.arena,
            hire=lambda: self.actor,
            patience=Patience(hang_s=hang_s, start_s=60, place_s=place_s),
        )

    async def run(self, *slots: int) -> float:
        return await self.replica.run(slots, [("global_pool",)] * len(slots))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an actor sets for its process stays in the test."""
    monkeypatch.setattr(ray_replica, "_ENVIRONMENT", {"gpu": {}})


@pytest.fixture
async def bench() -> AsyncIterator[_Bench]:
    """Give a warm replica."""
    bench = _Bench()
    await bench.replica.start()
    await bench.replica.warm_up()
    yield bench
    await bench.replica.close()


async def test_features_come_back_into_their_slots(bench: _Bench) -> None:
    """Images go out as one array, and each one's vector is laid into its own slot and no other."""
    await bench.run(5, 0, 3)
    expected = fingerprint(bench.arena.images, 768)
    for slot in (0, 3, 5):
        assert bench.arena.take_results(slot, 768 * 4) == expected[slot].tobytes()
    for slot in (1, 2, 4, 6, 7):
        assert not any(bench.arena.take_results(slot, _LAYOUT.result_bytes))


async def test_each_image_gets_the_outputs_asked_for_it(bench: _Bench) -> None:
    """Images of one batch may want different outputs: each finds its own, one behind the other, in its order."""
    await bench.replica.run([0, 1], [("global_pool", "Logits"), ("Logits", "global_pool")])
    vectors, logits = fingerprint(bench.arena.images, 768), fingerprint(bench.arena.images, 10)
    assert bench.arena.take_results(0, 778 * 4) == vectors[0].tobytes() + logits[0].tobytes()
    assert bench.arena.take_results(1, 778 * 4) == logits[1].tobytes() + vectors[1].tobytes()


async def test_small_batches_travel_in_the_call_and_large_ones_as_one_object(bench: _Bench) -> None:
    """The object store is asked for what is worth it, once for a batch: uint8 [N, H, W, 3], contiguous."""
    await bench.run(0)
    assert bench.actor.sent == []
    await bench.run(*range(64))
    (sent,) = bench.actor.sent
    assert (sent.dtype, sent.shape, sent.flags.c_contiguous) == (np.uint8, (64, 32, 32, 3), True)


async def test_an_object_store_without_room_is_a_batch_too_large(bench: _Bench) -> None:
    """The scheduler then makes smaller ones; the actor has not heard of the batch and runs the next."""
    bench.actor.room = DeviceMemoryError("no room")
    with pytest.raises(DeviceMemoryError):
        await bench.run(*range(64))
    await bench.run(0, 1)


async def test_two_batches_at_once_are_answered_in_their_order(bench: _Bench) -> None:
    """One batch may wait beside the one that runs, and each call gets its own answer."""
    bench.arena.images[1, 0, 0] = FAILING_PIXEL
    results = await asyncio.gather(bench.run(0), bench.run(1), bench.run(2), return_exceptions=True)
    assert [type(result) for result in results] == [float, ExecutionFailedError, float]


async def test_batches_run_by_their_numbers_however_they_arrive() -> None:
    """Ray may bring the second call first: it waits for the one before."""
    replica, order = remote_replica.RemoteReplica(), list[int]()

    class _Engine:
        def run(self, images: Any, outputs: Any) -> Any:
            order.append(int(images[0, 0, 0, 0]))
            return {"a": np.zeros((1, 1), np.float32)}

    replica._engine = _Engine()  # type: ignore[assignment]
    images = [np.full((1, 1, 1, 3), number, np.uint8) for number in range(3)]
    await asyncio.gather(*(replica.run(number, images[number], [("a",)]) for number in (2, 1, 0)))
    assert order == [0, 1, 2]


async def test_the_device_has_its_next_batch_while_results_leave_it() -> None:
    """An engine that works by itself begins a batch before the one before is fetched, and each gets its own results."""
    replica, second = remote_replica.RemoteReplica(), threading.Event()

    class _Engine:
        max_batch_size = 1

        def load(self) -> Any: ...

        def warm_up(self, batch_size: int) -> None: ...

        def run(self, images: Any, outputs: Any) -> Any: ...

        def begin(self, images: Any, outputs: Any) -> Callable[[], Any]:
            number = float(images[0, 0, 0, 0])
            if number:
                second.set()

            def fetch() -> Any:
                assert second.wait(30)
                return {"a": np.full((1, 1), number, np.float32)}

            return fetch

    replica._engine = _Engine()
    images = [np.full((1, 1, 1, 3), number, np.uint8) for number in range(2)]
    answers = await asyncio.gather(*(replica.run(number, images[number], [("a",)]) for number in range(2)))
    assert [answer[1].tolist() for answer in answers if answer[1] is not None] == [[0.0], [1.0]]


async def test_an_engine_that_raises_lives_on(bench: _Bench) -> None:
    """A failed batch is told with the engine's own words, and the next one runs."""
    bench.arena.images[0, 0, 0] = FAILING_PIXEL
    with pytest.raises(ExecutionFailedError, match="ValueError: the batch holds an image with the failing pixel"):
        await bench.run(0)
    await bench.run(1)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Give what the engine waits for; open at the end, so that its thread ends."""
    gate, run = threading.Event(), FakeEngine.run

    def waiting(engine: FakeEngine, images: Any, outputs: Any) -> Any:
        gate.wait()
        return run(engine, images, outputs)

    monkeypatch.setattr(FakeEngine, "run", waiting)
    yield gate
    gate.set()


async def _two_under_way(bench: _Bench) -> list[asyncio.Task[float]]:
    batches = [asyncio.create_task(bench.run(slot)) for slot in (0, 1)]
    await until(lambda: bench.replica._sent == 2)
    return batches


async def test_a_death_blames_the_batch_that_ran_and_not_the_one_beside_it(
    bench: _Bench, gate: threading.Event
) -> None:
    """The actor dies under its batch: that call says so, the waiting one says that it never began."""
    batches = await _two_under_way(bench)
    bench.actor.die("killed")
    died, waited = await asyncio.gather(*batches, return_exceptions=True)
    assert isinstance(died, ReplicaLostError)
    assert isinstance(waited, ReplicaLostError)
    assert (died.started, waited.started) == (True, False)
    assert await bench.replica.wait_lost() == "killed"


async def test_a_lost_node_blames_nobody(bench: _Bench, gate: threading.Event) -> None:
    """A machine that goes was not killed by an image: its batches may lose any number of them."""
    batches = await _two_under_way(bench)
    bench.actor.die("node_lost")
    lost = await asyncio.gather(*batches, return_exceptions=True)
    assert [error.started for error in lost if isinstance(error, ReplicaLostError)] == [False, False]
    assert await bench.replica.wait_lost() == "node_lost"
    with pytest.raises(ReplicaLostError, match="ray:0 is gone"):
        await bench.run(0)


async def test_a_hung_actor_is_lost(gate: threading.Event) -> None:
    """A batch without an answer in time ends the replica, and the cause is told apart from other deaths."""
    bench = _Bench(hang_s=0.2)
    await bench.replica.start()
    await bench.replica.warm_up()
    with pytest.raises(ReplicaLostError, match=r"gave no answer for 0\.2 s"):
        await bench.run(0)
    assert await bench.replica.wait_lost() == "hung"
    await bench.replica.close()
    assert bench.actor.cause.done()


async def test_a_place_is_waited_for_and_closing_ends_the_wait() -> None:
    """A cluster without room holds the start up, as long as it takes; a server that stops withdraws the request."""
    bench = _Bench()
    bench.actor.placed.clear()
    starting = asyncio.create_task(bench.replica.start())
    await asyncio.sleep(0)
    await bench.replica.close()
    with pytest.raises(ReplicaLostError):
        await starting


async def test_a_place_may_be_waited_for_in_vain() -> None:
    """A version that is loaded beside another one asks for so long, and then gives way."""
    bench = _Bench(place_s=0.05)
    bench.actor.placed.clear()
    with pytest.raises(ReplicaLostError, match=r"gave no answer for 0\.05 s"):
        await bench.replica.start()
    await bench.replica.close()


async def test_a_model_that_the_node_lacks_is_sent_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """File by file through the object store; what is loaded is what the node kept."""
    bench, loaded = _Bench(), list[EngineOptions]()
    bench.replica._options = dataclasses.replace(bench.replica._options, artifact="/prepared/cifar")
    monkeypatch.setattr(Shipment, "contents", lambda _: {"a": np.zeros(3, np.uint8), "b": np.ones(2, np.uint8)})

    async def find(_: Shipment) -> None: ...

    async def keep(_: Shipment, names: tuple[str, ...], *contents: Any) -> str:
        return f"kept {','.join(names)} {sum(map(len, contents))}"

    async def load(options: EngineOptions, *_: Any) -> AsyncIterator[Any]:
        loaded.append(options)
        yield {"refused": "enough"}

    for method in (find, keep, load):
        monkeypatch.setattr(bench.actor.replica, method.__name__, method)
    await bench.replica.start()
    with pytest.raises(ConfigurationError, match="enough"):
        await bench.replica.warm_up()
    assert [options.artifact for options in loaded] == ["kept a,b 5"]
    assert len(bench.actor.sent) == 2
    await bench.replica.close()


async def test_another_nasfeat_on_a_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vectors might differ: both versions are named."""
    monkeypatch.setattr(remote_replica, "version", lambda _: "0.0.1")
    bench = _Bench()
    with pytest.raises(ConfigurationError, match=r"has nasfeat 0\.0\.1, this server "):
        await bench.replica.start()
    await bench.replica.close()


async def test_weights_that_do_not_load_refuse_the_start() -> None:
    """What the engine says of its weights reaches the operator."""
    bench = _Bench(weights="/nowhere")
    await bench.replica.start()
    with pytest.raises(ConfigurationError, match=r"takes random:SEED or .* not '/nowhere'"):
        await bench.replica.warm_up()
    await bench.replica.close()


async def test_a_device_too_small_for_the_largest_batch_serves_smaller_ones() -> None:
    """Out of memory while it warms batches of four: the replica comes up and says that two is the most."""
    bench = _Bench(weights="sleep:0,memory:2")
    await bench.replica.start()
    await bench.replica.warm_up()
    assert bench.replica.max_batch_size == 2
    with pytest.raises(DeviceMemoryError, match="4 images do not fit, 2 do"):
        await bench.run(0, 1, 2, 3)
    await bench.replica.close()
