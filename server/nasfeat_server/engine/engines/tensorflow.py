"""The default engine: the folded network as one TensorFlow graph, on a CPU or a GPU."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nasfeat_server.engine.engines.parts import (
    VECTORS,
    black_images,
    describe,
    link_parameters,
    read_description,
    read_parameters,
    write_parameters,
)
from nasfeat_server.engine.interface import EngineOptions, ModelDescription, Outputs, Results
from nasfeat_server.network.folded.tensor_operations import FoldedOperations
from nasfeat_server.network.module_graph import open_module_graph
from nasfeat_server.network.outputs import FEATURE_VECTOR, LOGITS, MEAN
from nasfeat_server.network.walk import walk
from nasfeat_server.network.weights.read import read_weights
from nasfeat_server.network.weights.values import Weights

_KINDS = {"fp32": tf.float32, "bf16": tf.bfloat16, "fp16": tf.float16}
_Compute = Callable[[Any, Outputs], Mapping[str, Any]]


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


class TensorFlowEngine:
    """An `Engine` whose graph reads the weights from variables.

    Constants instead would let oneDNN keep its own layout of them. Measured for Large, that gains nothing and costs
    gigabytes and a minute of start. One graph takes every batch size, so that the weights are put and the graph is
    optimised once. Activations have a second graph over the same variables, made when the first is asked for: what a
    graph returns it cannot drop as it goes along.
    """

    def __init__(self, options: EngineOptions) -> None:
        """Keep the options for `load`."""
        self._options = options
        self._compute: _Compute | None = None

    @property
    def max_batch_size(self) -> int:
        """The largest that was asked for."""
        return self._options.batch_buckets[-1]

    def load(self) -> ModelDescription:
        """Put the prepared parameters on the device and trace the graph.

        Raises:
            WeightsError: the weights cannot be had or do not fit the network.
        """
        _configure(self._options)
        if self._options.run_module_graph:
            module = open_module_graph(self._options.model)
            self._compute = module.run
            return describe(read_weights(self._options.model), "fp32", module.output_shapes)
        description = read_description(self._options)
        kind = _KINDS[self._options.precision]
        parameters = {
            name: tf.Variable(tf.cast(value, kind), trainable=False) for name, value in read_parameters(self._options)
        }
        self._compute = _graphs(self._options, parameters, tuple(description.output_shapes))
        return description

    def warm_up(self, batch_size: int) -> None:
        """Run once over black images."""
        self.run(black_images(self._options, batch_size), (FEATURE_VECTOR,))

    def run(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Results:
        """Compute `outputs` of uint8 RGB images [N, H, W, 3]."""
        return self.begin(images, outputs)()

    def begin(self, images: npt.NDArray[np.uint8], outputs: Outputs) -> Callable[[], Results]:
        """Run the graph, which a GPU only queues; what is returned waits for it. A CPU has computed all by then."""
        if self._compute is None:
            raise AssertionError("an engine is loaded before it runs")
        with _memory_errors():
            results = self._compute(tf.constant(images), outputs)

        def fetch() -> Results:
            with _memory_errors():
                return {name: results[name].numpy() for name in outputs}

        return fetch


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        # The message goes on with every allocation there is.
        raise MemoryError(str(error.message).splitlines()[0]) from error


def create(options: EngineOptions) -> TensorFlowEngine:
    """Make the engine of a replica's process."""
    return TensorFlowEngine(options)


def _configure(options: EngineOptions) -> None:
    if count := options.thread_count:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    # The description promises fp32; TensorFlow would round a GPU's products to TF32.
    tf.config.experimental.enable_tensor_float_32_execution(enabled=False)


def _graphs(options: EngineOptions, parameters: Mapping[str, Any], outputs: Outputs) -> _Compute:
    """Trace the graph of the vectors, and when the first activation is asked for, that of everything."""
    vectors = _graph(options, parameters, tuple(name for name in outputs if name in VECTORS))
    make_everything = functools.cache(lambda: _graph(options, parameters, outputs))

    def compute(images: Any, wanted: Outputs) -> Mapping[str, Any]:
        graph = vectors if VECTORS.issuperset(wanted) else make_everything()
        results: Mapping[str, Any] = graph(images)
        return results

    return compute


def _graph(options: EngineOptions, parameters: Mapping[str, Any], outputs: Outputs) -> Any:
    spec, kind = options.model.spec, _KINDS[options.precision]

    def compute(images: Any) -> dict[str, Any]:
        operations = FoldedOperations(spec, parameters, kind)
        endpoints = walk(spec, operations, images, classifier=LOGITS in outputs)
        means = {name for name in outputs if name.endswith(MEAN)}
        pooled = {name: operations.global_pool(endpoints[name.removesuffix(MEAN)]) for name in means}
        results = {name: pooled[name] if name in means else endpoints[name] for name in outputs}
        return {name: tf.cast(value, tf.float32) for name, value in results.items()}

    images = tf.TensorSpec((None, spec.image_size, spec.image_size, 3), tf.uint8)
    compiled = tf.function(compute, autograph=False, jit_compile=options.xla or None)
    return compiled.get_concrete_function(images)
