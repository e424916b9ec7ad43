"""A device that costs nothing: for tests of the whole path in milliseconds, and to measure what serving costs."""

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.arena import Arena
from nasfeat_server.engine.interface import ModelDescription, Outputs
from nasfeat_server.errors import ExecutionFailedError, ReplicaLostError
from nasfeat_server.network.outputs import output_shapes
from nasfeat_server.network.spec import VARIANTS, NetworkSpec


def fingerprint(images: npt.NDArray[np.uint8], length: int) -> npt.NDArray[np.float32]:
    """Turn images into vectors that tell them apart: every so many-th byte, scaled to [0, 1].

    Args:
        images: uint8 [N, H, W, 3].
        length: values in a vector; the bytes are repeated if they are fewer.

    Returns:
        float32 [N, length].
    """
    flat = images.reshape(len(images), -1)
    if flat.shape[1] < length:
        flat = np.tile(flat, -(-length // flat.shape[1]))
    step = flat.shape[1] // length
    return np.divide(flat[:, : step * length : step], 255, dtype=np.float32)


def fingerprints(
    images: npt.NDArray[np.uint8], outputs: Outputs, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Fingerprint images uint8 [N, H, W, 3] in the shape of each of `outputs`: float32 [N, ...]."""
    return {name: fingerprint(images, math.prod(shapes[name])).reshape(-1, *shapes[name]) for name in outputs}


def describe(spec: NetworkSpec, source: str) -> ModelDescription:
    """Describe a fake network with the inputs and outputs of `spec`; it never claims to be trained."""
    return ModelDescription(
        name=f"fake_{spec.name}",
        weights_digest=f"sha256:{hashlib.sha256(source.encode()).hexdigest()}",
        weights_source=source,
        trained=False,
        precision="fp32",
        wiring=spec.wiring,
        image_height=spec.image_size,
        image_width=spec.image_size,
        output_shapes=output_shapes(spec, classifier=True),
        labels=tuple(f"class {index}" for index in range(spec.num_classes)),
    )


class FakeExecutor:
    """An `Executor` inside the server's process whose every batch waits for its gate and can be told to fail.

    Attributes:
        gate: batches wait until it is set; set at first.
        batches: the slots of every batch that was begun, in order.
        failures: what the next batches raise instead of running, first to last; None lets one pass.
        busy_s: the seconds that a batch of so many images claims to have taken.
    """

    def __init__(self, arena: Arena, *, device: str = "fake:0", max_batch_size: int = 4) -> None:
        """Work on `arena`; there is no process to start."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[tuple[int, ...]] = []
        self.busy_s: Callable[[int], float] = lambda _: 0.0
        self.failures: list[ExecutionFailedError | ReplicaLostError | None] = []
        self._arena = arena
        self._device = device
        self._max_batch_size = max_batch_size
        self._turn = asyncio.Lock()
        self._description = describe(VARIANTS["cifar"], "random:0")

    @property
    def device(self) -> str:
        """The name given."""
        return self._device

    @property
    def max_batch_size(self) -> int:
        """The size given."""
        return self._max_batch_size

    async def warm_up(self) -> ModelDescription:
        """Describe a fake NASNet-A of the CIFAR variant."""
        return self._description

    async def run(self, slots: Sequence[int], outputs: Sequence[Outputs]) -> float:
        """Leave the fingerprints of `slots` once the gate is open."""
        async with self._turn:
            self.batches.append(tuple(slots))
            await self.gate.wait()
            failure = self.failures.pop(0) if self.failures else None
            if failure:
                raise failure
            for slot, names in zip(slots, outputs, strict=True):
                results = fingerprints(self._arena.images[slot : slot + 1], names, self._description.output_shapes)
                self._arena.put_results(slot, (results[name][0] for name in names))
        return self.busy_s(len(slots))

    async def close(self) -> None:
        """Do nothing: there is nothing to free."""
