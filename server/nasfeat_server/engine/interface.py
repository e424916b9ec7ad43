"""The two contracts of the engine package, and the plain data that crosses them.

`Engine` is synchronous and lives in a replica's process, alone with its device. `Executor` is what the scheduler
sees of a replica: asynchronous, in the server's process, and free of any framework.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What a replica's process is told to load, and the share of the machine it may use.

    Attributes:
        engine: name of a module in `nasfeat_server.engine.engines`.
        variant: a key of `nasfeat_server.network.spec.VARIANTS`.
        weights: a weights source, as `--weights` takes it.
        device: "cpu:N" or "gpu:N".
        cores: the CPU cores this replica is pinned to; empty leaves the choice to the system.
        batch_buckets: the batch sizes to prepare, ascending; a batch is padded to the next one.
    """

    engine: str
    variant: str
    weights: str
    device: str
    cores: tuple[int, ...]
    batch_buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What an engine has loaded; every replica of a server reports the same.

    Attributes:
        name: the architecture, e.g. "nasnet_large".
        weights_digest: "sha256:<hex>" over every variable's name, shape and float32 values.
        weights_source: the source as the operator named it.
        trained: False for random weights.
        precision: the arithmetic, e.g. "fp32".
        image_height: rows of the input.
        image_width: columns of the input.
        feature_length: values in a feature vector.
    """

    name: str
    weights_digest: str
    weights_source: str
    trained: bool
    precision: str
    image_height: int
    image_width: int
    feature_length: int


class Engine(Protocol):
    """A network on a device, inside a replica's process. Not thread-safe."""

    def load(self) -> ModelDescription:
        """Read the weights and put the network on the device. Called once, first.

        Raises:
            nasfeat_server.errors.WeightsError: the weights cannot be had or do not fit the network.
        """
        ...

    def warm_up(self, batch_size: int) -> None:
        """Compile and run once for `batch_size`, one of the options' buckets."""
        ...

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Compute feature vectors.

        Args:
            images: uint8 RGB [N, H, W, 3] in 0..255, N one of the warmed buckets.

        Returns:
            float32 [N, feature_length].
        """
        ...


class Executor(Protocol):
    """One replica as the scheduler sees it."""

    @property
    def device(self) -> str:
        """The device's name, e.g. "cpu:0": a bounded metric label."""
        ...

    @property
    def max_batch_size(self) -> int:
        """The most slots that one `run` takes now; it may shrink and grow."""
        ...

    async def warm_up(self) -> ModelDescription:
        """Return when every batch size has run once.

        Raises:
            nasfeat_server.errors.ConfigurationError: the replica cannot serve what it was told to.
            nasfeat_server.errors.ReplicaLostError: the replica died on the way.
        """
        ...

    async def run(self, slots: Sequence[int]) -> float:
        """Read the images of `slots` from the arena and leave their feature vectors there.

        Returns:
            The seconds that the device worked on this batch, without the wait behind another one.

        Up to two calls may be under way at once: the device works on one while the other waits beside it. The
        slots belong to the executor until the call returns or raises, and no longer.

        Raises:
            nasfeat_server.errors.ExecutionFailedError: the engine failed and lives.
            nasfeat_server.errors.ReplicaLostError: the replica is gone; the work may be given to another.
        """
        ...

    async def close(self) -> None:
        """Stop the replica and free its device. Calls under way raise ReplicaLostError."""
        ...
