"""The network as Keras layers: to look into, to train and to export."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from nasfeat_server.network.batch_norm import BatchNormalization
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import Padding, walk

Array = npt.NDArray[np.float32]


def build_model(spec: NetworkSpec, *, classifier: bool = True, training: bool = False) -> keras.Model:
    """Build `spec` over images float32 [N, size, size, 3] of 0..1; the outputs are all end points, by name.

    Each layer with variables is named after its TF-Slim scope, with dots for slashes.

    Args:
        spec: which network.
        classifier: end with `Logits` and `Predictions`.
        training: add the layers that leave out paths while the model is called with `training=True`, and, with a
            classifier, the auxiliary head `AuxLogits`.
    """
    images = keras.Input((spec.image_size, spec.image_size, 3), name="images")
    operations = _KerasOperations(spec, drop_paths=training)
    endpoints = walk(spec, operations, images, classifier=classifier, auxiliary=training and classifier)
    return keras.Model(images, endpoints, name=spec.name)


def variables_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Name every variable of a model made by `build_model` as TF-Slim does."""
    return {
        f"{layer.name.replace('.', '/')}/{_SLIM_SUFFIXES.get(variable.name, variable.name)}": variable
        for layer in model.layers
        for variable in layer.weights
    }


def assign(model: keras.Model, variables: Mapping[str, Array]) -> None:
    """Set every variable of a model made by `build_model` from arrays by TF-Slim's names."""
    for name, variable in variables_of(model).items():
        variable.assign(variables[name])


_SLIM_SUFFIXES = {
    "kernel": "weights",
    "bias": "biases",
    "depthwise_kernel": "depthwise_weights",
    "pointwise_kernel": "pointwise_weights",
}


class _KerasOperations:
    """`walk.Operations` that add layers."""

    def __init__(self, spec: NetworkSpec, *, drop_paths: bool) -> None:
        self._spec = spec
        self._drop_paths = drop_paths

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

    def average_pool(self, x: Any, *, stride: int, size: int = 3, padding: Padding = "same") -> Any:
        if self._spec.wiring == "keras" and stride == 2:
            return keras.layers.AveragePooling2D(3, 2, "valid")(self._zeros_around(x))
        return keras.layers.AveragePooling2D(size, stride, padding)(x)

    def max_pool(self, x: Any, *, stride: int) -> Any:
        if self._spec.wiring == "keras" and stride == 2:
            return keras.layers.MaxPooling2D(3, 2, "valid")(self._zeros_around(x))
        return keras.layers.MaxPooling2D(3, stride, "same")(x)

    def drop_path(self, x: Any, cell: str) -> Any:
        keep = self._spec.keep_probability(cell)
        if not self._drop_paths or keep == 1:
            return x
        # One draw for each image and branch.
        return keras.layers.Dropout(1 - keep, noise_shape=(None, 1, 1, 1))(x)

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
        return BatchNormalization(
            momentum=self._spec.batch_norm_decay, epsilon=self._spec.batch_norm_epsilon, name=_name(norm)
        )(x)

    def _zeros_around(self, x: Any) -> Any:
        rows, columns = x.shape[1] % 2, x.shape[2] % 2
        return keras.layers.ZeroPadding2D(((rows, 1), (columns, 1)))(x)


def _name(scope: str) -> str:
    return scope.replace("/", ".")  # Keras forbids slashes
