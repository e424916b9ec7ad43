"""What is measured, each in a process of its own: PyTorch and TensorFlow bring LLVMs that cannot live in one."""

import asyncio
import collections
import dataclasses
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_SIZE = 331
_SQUARE = 8192
_COPIED = 2**28
_SPAWN = multiprocessing.get_context("spawn")

TIMM = "timm nasnetalarge, torch.compile"

# Gives the device a batch; what it returns waits for the features, float32 in the host's memory.
_Begin = Callable[[npt.NDArray[np.uint8]], Callable[[], Any]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A network on a device: `name` is `TIMM` or one of our engines."""

    name: str
    device: str
    precision: str
    largest: int
    folder: Path

    def open(self) -> _Begin:
        """Load it; the first batch of each size compiles."""
        if self.device == "cpu":
            os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        return _timm(self) if self.name == TIMM else _ours(self)


class WayProcess:
    """A way that is measured from another process."""

    def __init__(self, way: Way) -> None:
        """Start it; it loads by itself."""
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_measure, args=(theirs, way), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def seconds(self, batch: int, count: int) -> float:
        """Take the time for each of `count` batches, every one begun while the one before is on the device.

        Raises:
            EOFError: the process has died, and said why.
        """
        self._pipe.send((batch, count))
        taken: float = self._pipe.recv()
        return taken / count


def _measure(pipe: Connection, way: Way) -> None:
    begin = way.open()
    images = np.random.default_rng(0).integers(0, 256, (way.largest, _SIZE, _SIZE, 3), np.uint8)
    while True:
        try:
            batch, count = pipe.recv()
        except EOFError:
            return
        started_at = time.perf_counter()
        begun: collections.deque[Callable[[], Any]] = collections.deque()
        for _ in range(count):
            begun.append(begin(images[:batch]))
            if len(begun) > 1:
                begun.popleft()()
        begun.popleft()()
        pipe.send(time.perf_counter() - started_at)


def _ours(way: Way) -> _Begin:
    from nasfeat_server.config import ServerConfig
    from nasfeat_server.engine.preparing import prepare_model
    from nasfeat_server.network.outputs import FEATURE_VECTOR

    config = ServerConfig(
        engine=way.name, weights="random:0", max_batch_size=way.largest, slots=way.largest, cache=way.folder
    )
    options = asyncio.run(prepare_model(config))
    # Speed alone: the evidence for a precision needs pictures, and is the server's business.
    options = dataclasses.replace(options, precision=way.precision)
    engine = importlib.import_module(f"nasfeat_server.engine.engines.{way.name}").create(options)
    engine.load()
    return lambda images: engine.begin(images, (FEATURE_VECTOR,))


def _timm(way: Way) -> _Begin:
    import timm
    import torch

    kind = _torch_kind(way.precision)
    model = timm.create_model("nasnetalarge", pretrained=False, num_classes=0).eval()
    compiled = torch.compile(model.to(way.device, kind, memory_format=torch.channels_last))

    def begin(images: npt.NDArray[np.uint8]) -> Callable[[], Any]:
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(way.device, non_blocking=True).permute(0, 3, 1, 2)
            features = compiled(batch.to(kind) / 127.5 - 1)
        # The float features come back to the host, as they do from our engines.
        return lambda: features.float().cpu()

    return begin


def _torch_kind(precision: str) -> Any:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What the device can do: products of matrices in operations a second, copies to it in bytes a second."""

    name: str
    multiplies: float
    copies: float


def ceilings(device: str, precision: str) -> Ceilings:
    """Measure `device` in a process of its own."""
    with _SPAWN.Pool(1) as pool:
        return pool.apply(_ceilings, (device, precision))


def _ceilings(device: str, precision: str) -> Ceilings:
    import torch

    cuda = device == "cuda"
    size = _SQUARE if cuda else _SQUARE // 8
    square = torch.rand(size, size, device=device, dtype=_torch_kind(precision))
    host = torch.empty(_COPIED, dtype=torch.uint8, pin_memory=cuda)
    return Ceilings(
        name=torch.cuda.get_device_name() if cuda else "a CPU",
        multiplies=2 * size**3 / _best(lambda: square @ square, cuda=cuda),
        copies=_COPIED / _best(lambda: host.to(device, non_blocking=True, copy=True), cuda=cuda),
    )


def _best(work: Callable[[], Any], *, cuda: bool) -> float:
    import torch

    taken = []
    for _ in range(10):
        started_at = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started_at)
    return min(taken)
