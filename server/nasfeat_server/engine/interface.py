"""The two contracts of the engine package, and the plain data that crosses them.

`Engine` is synchronous and lives in a replica's process, alone with its device. `Executor` is what the scheduler
sees of a replica: asynchronous, in the server's process, and free of any framework.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nasfeat_server.network.weights.values import Located

Outputs = tuple[str, ...]
"""The names of the outputs wanted of one image, in the order in which they are left in its slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What a replica's process is told to load, and the share of the machine it may use.

    Attributes:
        engine: name of a module in `nasfeat_server.engine.engines`.
        model: the network and where its weights are.
        run_module_graph: run the graph that the weights' module brings, in place of our own.
        cores: the CPU cores this replica is pinned to; empty leaves the choice to the system.
        batch_buckets: the batch sizes to warm, ascending.
        precision: the arithmetic; one of `nasfeat_server.engine.choice.PRECISIONS`.
        precision_floor: the mean cosine to fp32's feature vectors that another precision must reach.
        artifact: the directory of what was prepared for this engine; None where nothing is.
        xla: let TensorFlow compile its graph with XLA.
        threads: how many compute; 0 for one on each of `cores`.
    """

    engine: str
    model: Located
    run_module_graph: bool
    cores: tuple[int, ...]
    batch_buckets: tuple[int, ...]
    precision: str = "fp32"
    precision_floor: float = 0.0
    artifact: str | None = None
    xla: bool = False
    threads: int = 0

    @property
    def thread_count(self) -> int:
        """How many threads compute; 0 leaves the choice to the framework."""
        return self.threads or len(self.cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionCheck:
    """How a precision compares to fp32, measured on the device when a replica starts.

    Attributes:
        images: pictures compared.
        mean_cosine: the mean cosine between the feature vectors.
        min_cosine: the least.
    """

    images: int
    mean_cosine: float
    min_cosine: float

    def __str__(self) -> str:
        """Say it to an operator."""
        return (
            f"over {self.images} pictures the cosine to fp32's feature vectors is {self.mean_cosine:.4f} in the mean "
            f"and {self.min_cosine:.4f} at least"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What an engine has loaded; every replica of a server reports the same.

    Attributes:
        name: the architecture, e.g. "nasnet_large".
        weights_digest: "sha256:<hex>" over every variable's name, shape and float32 values.
        weights_source: the source as the operator named it.
        trained: False for random weights.
        precision: the arithmetic, e.g. "fp32".
        wiring: "slim" or "keras"; see `NetworkSpec.wiring`.
        image_height: rows of the input.
        image_width: columns of the input.
        output_shapes: what can be computed, with the shape for one image; the feature vector first.
        labels: the names of the classifier's classes, in order; empty if there are none.
        precision_check: how the precision compares to fp32; None for fp32. Devices differ in it.
    """

    name: str
    weights_digest: str
    weights_source: str
    trained: bool
    precision: str
    wiring: str
    image_height: int
    image_width: int
    output_shapes: Mapping[str, tuple[int, ...]]
    labels: tuple[str, ...]
    precision_check: PrecisionCheck | None = field(default=None, compare=False)


def description_of(document: Mapping[str, Any]) -> ModelDescription:
    """Make a `ModelDescription` of its fields as JSON has them."""
    shapes = {name: tuple(shape) for name, shape in document["output_shapes"].items()}
    check = document["precision_check"]
    fields = {
        "output_shapes": shapes,
        "labels": tuple(document["labels"]),
        "precision_check": PrecisionCheck(**check) if check else None,
    }
    return ModelDescription(**{**document, **fields})


Results = Mapping[str, npt.NDArray[np.float32]]
"""What an engine computed, by the outputs' names: float32 [N, ...]."""


class Engine(Protocol):
    """A network on a device, inside a replica's process. Not thread-safe."""

    @property
    def max_batch_size(self) -> int:
        """The largest batch that makes an image cheaper, known once loaded: in a larger one, images would only wait."""
        ...

    def load(self) -> ModelDescription:
        """Read the weights and put the network on the device. Called once, first.

        Raises:
            nasfeat_server.errors.WeightsError: the weights cannot be had or do not fit the network.
        """
        ...

    def warm_up(self, batch_size: int) -> None:
        """Compile and run once for `batch_size`, one of the options' buckets.

        Raises:
            MemoryError: the device has not the memory for it; the engine lives.
        """
        ...

    def run(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Results:
        """Compute `outputs` in one pass.

        Args:
            images: uint8 RGB [N, H, W, 3] in 0..255, N one of the warmed buckets.
            outputs: names among the description's `output_shapes`.

        Returns:
            For each name float32 [N, ...] of the described shape: views of the engine's memory that hold until it runs
            again, so that an output is copied once, to its slot.

        Raises:
            MemoryError: the device has not the memory for this batch; the engine lives.
        """
        ...


class OverlappingEngine(Engine, Protocol):
    """An engine whose device works by itself, so that its next batch can be prepared meanwhile."""

    def begin(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Callable[[], Results]:
        """Give the device a batch, as far as that can be done while it works on the one before.

        Another thread may call this while what it returned before is called, and in the same order. Arguments and
        errors, which either may raise, are those of `run`.

        Returns:
            What waits for the results, and computes what this has not. Its views hold until the next one is called.
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
        """The largest batch prepared; the scheduler may give less, after a DeviceMemoryError for one."""
        ...

    async def warm_up(self) -> ModelDescription:
        """Return when every batch size has run once.

        Raises:
            nasfeat_server.errors.ConfigurationError: the replica cannot serve what it was told to.
            nasfeat_server.errors.ReplicaLostError: the replica died on the way.
        """
        ...

    async def run(self, slots: Sequence[int], outputs: Sequence[Outputs]) -> float:
        """Read the images of `slots` from the arena and leave there what `outputs` names for each.

        Returns:
            The seconds that the device worked on this batch, without the wait behind another one.

        Up to two calls may be under way at once: the device works on one while the other waits beside it. The
        slots belong to the executor until the call returns or raises, and no longer.

        Raises:
            nasfeat_server.errors.ExecutionFailedError: the engine failed and lives.
            nasfeat_server.errors.DeviceMemoryError: so it did, since the batch was too large.
            nasfeat_server.errors.ReplicaLostError: the replica is gone; the work may be given to another.
        """
        ...

    async def close(self) -> None:
        """Stop the replica and free its device. Calls under way raise ReplicaLostError."""
        ...


class SupervisedExecutor(Executor, Protocol):
    """One replica as its fleet sees it: it lives once, and whoever wants another makes a new one."""

    @property
    def pid(self) -> int | None:
        """Its process on this machine; None before it is started, and for one on another machine."""
        ...

    @property
    def last_words(self) -> str:
        """The last lines that it wrote, as far as they came here."""
        ...

    async def start(self) -> int | None:
        """Start it, and return `pid`; it then loads by itself, and `warm_up` waits for that."""
        ...

    async def relay_log(self) -> None:
        """Pass on what it writes, until it ends."""
        ...

    async def wait_lost(self) -> str:
        """Return why it is gone, a cause of `ReplicaDied`, when it is and every call of `run` has heard of it."""
        ...
