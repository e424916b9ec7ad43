"""JAX: the folded network compiled by XLA for each batch size, for GPUs; on CPUs it is for tests, being slow there."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.engines.parts import (
    VECTORS,
    black_images,
    link_parameters,
    read_description,
    read_parameters,
    write_parameters,
)
from nasfeat_server.engine.interface import EngineOptions, ModelDescription, Outputs, Results
from nasfeat_server.network.folded.jax_operations import JaxOperations
from nasfeat_server.network.outputs import FEATURE_VECTOR, LOGITS, MEAN
from nasfeat_server.network.walk import walk
from nasfeat_server.network.weights.values import Weights

_KINDS = {"fp32": jnp.float32, "bf16": jnp.bfloat16, "fp16": jnp.float16}


def prepare(weights: Weights, buckets: Sequence[int], directory: Path) -> None:
    """Write the folded parameters into an artifact."""
    del buckets
    write_parameters(weights, directory)


def convert(
    artifact: Path, precision: str, images: npt.NDArray[np.uint8], buckets: Sequence[int], directory: Path
) -> None:
    """Share the parameters of an artifact: they are rounded when they are loaded."""
    del precision, images, buckets
    link_parameters(artifact, directory)


class JaxEngine:
    """An `Engine` whose executables are compiled once for each batch size and kept on disk beside the artifacts."""

    def __init__(self, options: EngineOptions) -> None:
        """Keep the options for `load`."""
        self._options = options
        self._names: Outputs = ()
        self._parameters: Mapping[str, Any] = {}
        self._compiled: dict[tuple[int, bool], Any] = {}

    @property
    def max_batch_size(self) -> int:
        """The largest that was asked for."""
        return self._options.batch_buckets[-1]

    def load(self) -> ModelDescription:
        """Put the prepared parameters on the device.

        Raises:
            WeightsError: what was prepared is not there any more.
        """
        description = read_description(self._options)
        jax.config.update("jax_compilation_cache_dir", str(Path(str(self._options.artifact)).parents[1] / "jax"))
        # The description promises fp32; a GPU's products would be rounded to TF32.
        jax.config.update("jax_default_matmul_precision", "highest" if self._options.precision == "fp32" else None)
        kind = _KINDS[self._options.precision]
        self._parameters = {name: jnp.asarray(value, kind) for name, value in read_parameters(self._options)}
        self._names = tuple(description.output_shapes)
        return description

    def warm_up(self, batch_size: int) -> None:
        """Compile for `batch_size` and run once over black images."""
        self.run(black_images(self._options, batch_size), (FEATURE_VECTOR,))

    def run(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Results:
        """Compute `outputs` of uint8 RGB images [N, H, W, 3]."""
        return self.begin(images, outputs)()

    def begin(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Callable[[], Results]:
        """Send the images to the device and queue the computation there; what is returned waits for it."""
        everything = not VECTORS.issuperset(outputs)
        with _memory_errors():
            results = self._executable(images, everything=everything)(self._parameters, images)

        def fetch() -> Results:
            with _memory_errors():
                return {name: np.asarray(results[name]) for name in outputs}

        return fetch

    def _executable(self, images: npt.NDArray[np.uint8], *, everything: bool) -> Any:
        key = (len(images), everything)
        if key not in self._compiled:
            outputs = self._names if everything else tuple(name for name in self._names if name in VECTORS)
            lowered = jax.jit(self._compute, static_argnums=2).lower(self._parameters, images, outputs)
            compiled = lowered.compile()
            self._compiled[key] = compiled
        return self._compiled[key]

    def _compute(self, parameters: Mapping[str, Any], images: Any, outputs: Outputs) -> dict[str, Any]:
        spec = self._options.model.spec
        operations = JaxOperations(spec, parameters, _KINDS[self._options.precision])
        endpoints = walk(spec, operations, images, classifier=LOGITS in outputs)
        means = {name for name in outputs if name.endswith(MEAN)}
        results = {
            name: operations.global_pool(endpoints[name.removesuffix(MEAN)]) if name in means else endpoints[name]
            for name in outputs
        }
        return {name: value.astype(jnp.float32) for name, value in results.items()}


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise MemoryError(str(error).splitlines()[0]) from error
        raise


def create(options: EngineOptions) -> JaxEngine:
    """Make the engine of a replica's process."""
    return JaxEngine(options)
