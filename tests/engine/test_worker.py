"""The loop of a replica's process: what is begun while something else is finished."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nasfeat_server.engine import loading, worker
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.fake import describe, fingerprint, fingerprints
from nasfeat_server.engine.interface import EngineOptions, ModelDescription, Outputs, Results
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights.locate import locate

_VECTOR = ("global_pool",)


class _Engine:
    """Works by itself: a batch that is begun is finished once `gate` is set."""

    max_batch_size = 1

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.second = threading.Event()
        self.gate = threading.Event()
        self.failures: dict[int, Exception] = {}
        self._shapes: Mapping[str, tuple[int, ...]] = {}

    def load(self) -> ModelDescription:
        description = describe(VARIANTS["cifar"], "random:0")
        self._shapes = description.output_shapes
        return description

    def warm_up(self, batch_size: int) -> None:
        pass

    def run(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Results:
        return self.begin(images, outputs)()

    def begin(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Callable[[], Results]:
        number = int(images[0, 0, 0, 0])
        self.begun.append(number)
        if len(self.begun) > 1:
            self.second.set()
        if number in self.failures:
            raise self.failures[number]

        def fetch() -> Results:
            self.gate.wait()
            return fingerprints(images, outputs, self._shapes)

        return fetch


class _Replica:
    """The server's end of a replica that runs in a thread."""

    def __init__(self, engine: _Engine) -> None:
        self.arena = Arena.create(ArenaLayout(slots=3, image_height=32, image_width=32, result_bytes=2**16))
        for slot in range(3):
            self.arena.images[slot] = slot
        ours, theirs = socket.socketpair()
        self._pipe = ours.makefile("rwb")
        options = EngineOptions(
            engine="fake",
            model=locate("random:0", "cifar"),
            run_module_graph=False,
            cores=(),
            batch_buckets=(1,),
            precision="fp32",
            artifact=None,
        )
        self._thread = threading.Thread(target=self._serve, args=(theirs, options))
        self._thread.start()
        self._sockets = (ours, theirs)
        while "loaded" not in self.hear():
            pass

    def _serve(self, end: socket.socket, options: Any) -> None:
        worker._Replica(end.makefile("rwb"), self.arena).serve(options)

    def order(self, slot: int) -> None:
        self._pipe.write(json.dumps({"run": [slot], "outputs": [_VECTOR]}).encode() + b"\n")
        self._pipe.flush()

    def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._pipe.readline())
        return message

    def close(self) -> None:
        self._sockets[0].shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._pipe.close()
        for end in self._sockets:
            end.close()
        self.arena.close()


@pytest.fixture
def engine() -> _Engine:
    """Make an engine that the test holds in its hands."""
    return _Engine()


@pytest.fixture
def replica(engine: _Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Replica]:
    """Run the worker's loop over it."""
    monkeypatch.setattr(loading, "_engine_module", lambda _: SimpleNamespace(create=lambda _: engine))
    running = _Replica(engine)
    yield running
    engine.gate.set()
    running.close()


def test_a_batch_is_begun_while_the_one_before_is_on_the_device(engine: _Engine, replica: _Replica) -> None:
    """The second order is with the device before the first has its results; both are answered, in order."""
    replica.order(0)
    replica.order(1)
    assert engine.second.wait(10)
    assert engine.begun == [0, 1]
    # As long as a batch may take on a device.
    time.sleep(0.3)
    engine.gate.set()
    first, second = replica.hear(), replica.hear()
    assert first["done"] >= 0.3
    # The time beside the first is not counted twice: the gate was opened for both at once.
    assert second["done"] < first["done"] / 2
    for slot in (0, 1):
        values = np.frombuffer(replica.arena.take_results(slot, 4 * 768), np.float32)
        np.testing.assert_array_equal(values, fingerprint(replica.arena.images[slot : slot + 1], 768)[0])


def test_what_fails_when_it_is_begun_is_told_in_its_turn(engine: _Engine, replica: _Replica) -> None:
    """A batch too large for the memory beside the one before: that one is answered first, and lives."""
    engine.failures[1] = MemoryError("no room beside the other")
    for slot in (0, 1, 2):
        replica.order(slot)
    assert engine.second.wait(10)
    engine.gate.set()
    assert "done" in replica.hear()
    assert replica.hear() == {"failed": "MemoryError: no room beside the other", "out_of_memory": True}
    assert "done" in replica.hear()
