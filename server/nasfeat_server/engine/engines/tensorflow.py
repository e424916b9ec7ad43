"""The default engine: the folded network as one TensorFlow graph, on a CPU or a GPU."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nasfeat_server.engine.interface import EngineOptions, ModelDescription
from nasfeat_server.network.folding import FoldedOperations, fold
from nasfeat_server.network.spec import NetworkSpec, find_spec
from nasfeat_server.network.walk import walk
from nasfeat_server.network.weights import Weights, load_weights


class TensorFlowEngine:
    """An `Engine` whose graph reads the weights from variables.

    Constants instead would let oneDNN keep its own layout of them. Measured for Large, that gains nothing and costs
    gigabytes and a minute of start. One graph takes every batch size, so that the weights are put and the graph is
    optimised once.
    """

    def __init__(self, options: EngineOptions, spec: NetworkSpec | None = None) -> None:
        """Keep the options for `load`; `spec` takes the place of their variant."""
        self._options = options
        self._spec = spec or find_spec(options.variant)
        self._extract: Any = None

    def load(self) -> ModelDescription:
        """Read and fold the weights, put them on the device and trace the graph.

        Raises:
            WeightsError: the weights cannot be had or do not fit the network.
        """
        _configure(self._options)
        weights = load_weights(self._options.weights, self._spec)
        description = _describe(self._spec, weights)
        folded = fold(self._spec, dict(weights.variables))
        del weights
        # One by one, so that the arrays and the variables are never all held at once.
        parameters = {name: tf.Variable(folded.pop(name), trainable=False) for name in tuple(folded)}
        self._extract = _graph(self._spec, parameters)
        return description

    def warm_up(self, batch_size: int) -> None:
        """Run once over black images."""
        size = self._spec.image_size
        self.run(np.zeros((batch_size, size, size, 3), np.uint8))

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Compute feature vectors float32 [N, F] of uint8 RGB images [N, H, W, 3]."""
        features: npt.NDArray[np.float32] = self._extract(tf.constant(images)).numpy()
        return features


def create(options: EngineOptions) -> TensorFlowEngine:
    """Make the engine of a replica's process."""
    return TensorFlowEngine(options)


def _configure(options: EngineOptions) -> None:
    if options.cores:
        tf.config.threading.set_intra_op_parallelism_threads(len(options.cores))
        tf.config.threading.set_inter_op_parallelism_threads(len(options.cores))
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    # The description promises fp32; TensorFlow would round a GPU's products to TF32.
    tf.config.experimental.enable_tensor_float_32_execution(enabled=False)


def _describe(spec: NetworkSpec, weights: Weights) -> ModelDescription:
    return ModelDescription(
        name=spec.name,
        weights_digest=weights.digest,
        weights_source=weights.source,
        trained=weights.trained,
        precision="fp32",
        image_height=spec.image_size,
        image_width=spec.image_size,
        feature_length=spec.feature_length,
    )


def _graph(spec: NetworkSpec, parameters: dict[str, Any]) -> Any:
    def extract(images: Any) -> Any:
        return walk(spec, FoldedOperations(spec, parameters), images, classifier=False)["global_pool"]

    images = tf.TensorSpec((None, spec.image_size, spec.image_size, 3), tf.uint8)
    return tf.function(extract, autograph=False).get_concrete_function(images)
