"""The network as Keras layers: to look into, to train and to export."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import Padding, walk

Array = npt.NDArray[np.float32]


def build_model(spec: NetworkSpec, *, classifier: bool = True) -> keras.Model:
    """Build `spec` over images float32 [N, size, size, 3] of 0..1; the outputs are all end points, by name.

    Each layer with variables is named after its TF-Slim scope, with dots for slashes.
    """
    images = keras.Input((spec.image_size, spec.image_size, 3), name="images")
    endpoints = walk(spec, _KerasOperations(spec), images, classifier=classifier)
    return keras.Model(images, endpoints, name=spec.name)


def assign(model: keras.Model, variables: Mapping[str, Array]) -> None:
    """Set every variable of a model made by `build_model` from arrays by TF-Slim's names."""
    for layer in model.layers:
        for variable in layer.variables:
            suffix = _SLIM_SUFFIXES.get(variable.name, variable.name)
            variable.assign(variables[f"{layer.name.replace('.', '/')}/{suffix}"])


_SLIM_SUFFIXES = {
    "kernel": "weights",
    "bias": "biases",
    "depthwise_kernel": "depthwise_weights",
    "pointwise_kernel": "pointwise_weights",
}


class _KerasOperations:
    """`walk.Operations` that add layers."""

    def __init__(self, spec: NetworkSpec) -> None:
        self._epsilon = spec.batch_norm_epsilon
        self._decay = spec.batch_norm_decay

    def scale(self, images: Any) -> Any:
        return keras.layers.Rescaling(2, offset=-1)(images)

    def relu(self, x: Any) -> Any:
        return keras.layers.ReLU()(x)

    def convolution(
        self, x: Any, scope: str, norm: str, *, filters: int, size: int = 1, stride: int = 1, padding: Padding = "same"
    ) -> Any:
        x = keras.layers.Conv2D(filters, size, stride, padding, use_bias=False, name=_name(scope))(x)
        return self._normalise(x, norm)

    def separable(self, x: Any, scope: str, norm: str, *, filters: int, size: int, stride: int) -> Any:
        x = keras.layers.SeparableConv2D(filters, size, stride, "same", use_bias=False, name=_name(scope))(x)
        return self._normalise(x, norm)

    def factorized_reduction(self, x: Any, scope: str, *, filters: int) -> Any:
        odd = keras.layers.Cropping2D(((1, 0), (1, 0)))(keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
        paths = [
            keras.layers.Conv2D(filters // 2, 1, 2, use_bias=False, name=_name(f"{scope}/path{number}_conv"))(path)
            for number, path in ((1, x), (2, odd))
        ]
        return self._normalise(self.concatenate(paths), f"{scope}/final_path_bn")

    def average_pool(self, x: Any, *, stride: int) -> Any:
        return keras.layers.AveragePooling2D(3, stride, "same")(x)

    def max_pool(self, x: Any, *, stride: int) -> Any:
        return keras.layers.MaxPooling2D(3, stride, "same")(x)

    def add(self, x: Any, y: Any) -> Any:
        return keras.layers.Add()([x, y])

    def concatenate(self, xs: Sequence[Any]) -> Any:
        return keras.layers.Concatenate()(xs)

    def global_pool(self, x: Any) -> Any:
        return keras.layers.GlobalAveragePooling2D()(x)

    def dense(self, x: Any, scope: str, *, units: int) -> Any:
        return keras.layers.Dense(units, name=_name(scope))(x)

    def softmax(self, x: Any) -> Any:
        return keras.layers.Softmax()(x)

    def _normalise(self, x: Any, norm: str) -> Any:
        return keras.layers.BatchNormalization(momentum=self._decay, epsilon=self._epsilon, name=_name(norm))(x)


def _name(scope: str) -> str:
    return scope.replace("/", ".")  # Keras forbids slashes


class Network:
    """A network with its weights, for use in a notebook or as the reference that engines are tested against.

    Attributes:
        spec: which network it is.
        model: the Keras model; its outputs are the end points by name.
        weights_digest: "sha256:<hex>" over every variable's name, shape and float32 values.
        trained: False for random weights.
    """

    def __init__(self, spec: NetworkSpec, model: keras.Model, *, weights_digest: str, trained: bool) -> None:
        """Wrap `model`, made by `build_model` for `spec`."""
        self.spec = spec
        self.model = model
        self.weights_digest = weights_digest
        self.trained = trained
        # Graphs, since Keras would call its thousand layers one by one; None, so that any N shares one graph.
        images = tf.TensorSpec(model.input.shape, tf.float32)
        features = keras.Model(model.input, model.output["global_pool"])
        self._features = tf.function(lambda x: features(x, training=False), input_signature=[images])
        self._endpoints = tf.function(lambda x: model(x, training=False), input_signature=[images])

    def __repr__(self) -> str:
        return f"<Network {self.spec.name} {self.weights_digest[:14]} trained={self.trained}>"

    def features(self, images: Array) -> Array:
        """Compute the feature vectors, float32 [N, feature_length], of float32 images [N, size, size, 3] in 0..1.

        Raises:
            ValueError: the images are of another type, shape or range.
        """
        result: Array = self._features(self._checked(images)).numpy()
        return result

    def endpoints(self, images: Array) -> dict[str, Array]:
        """Compute every end point by TF-Slim's name; `walk.walk` lists them. Takes images as `features` does."""
        return {name: value.numpy() for name, value in self._endpoints(self._checked(images)).items()}

    def _checked(self, images: Array) -> Array:
        size = self.spec.image_size
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1:] != (size, size, 3) or not len(images):
            expected = f"float32 [N, {size}, {size}, 3]"
            raise ValueError(f"images must be {expected}, not {images.dtype} {list(images.shape)}")
        if not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"images must be in 0..1, and reach from {images.min()} to {images.max()}")
        return images
