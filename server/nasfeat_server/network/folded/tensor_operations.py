"""The network as TensorFlow operations, without layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import Padding


class TensorOperations:
    """The operations without variables, of `walk.Operations`, on TensorFlow tensors."""

    def __init__(self, spec: NetworkSpec) -> None:
        """Pool as `spec` is wired."""
        self._zeros_count = spec.wiring == "keras"

    def relu(self, x: Any) -> Any:
        """Cut off negative values."""
        return tf.nn.relu(x)

    def average_pool(self, x: Any, *, stride: int, size: int = 3, padding: Padding = "same") -> Any:
        """Average over the pixels of a window."""
        if self._zeros_count and stride == 2:
            return tf.nn.avg_pool2d(zeros_around(x), 3, 2, "VALID")
        return tf.nn.avg_pool2d(x, size, stride, padding.upper())

    def max_pool(self, x: Any, *, stride: int) -> Any:
        """Take the maximum of the pixels of a window."""
        if self._zeros_count and stride == 2:
            return tf.nn.max_pool2d(zeros_around(x), 3, 2, "VALID")
        return tf.nn.max_pool2d(x, 3, stride, "SAME")

    def drop_path(self, x: Any, cell: str) -> Any:
        """Keep everything: this is not training."""
        del cell
        return x

    def add(self, x: Any, y: Any) -> Any:
        """Add two tensors."""
        return x + y

    def concatenate(self, xs: Sequence[Any]) -> Any:
        """Put channels side by side."""
        return tf.concat(xs, axis=-1)

    def global_pool(self, x: Any) -> Any:
        """Average over all pixels: [N, C]."""
        return tf.cast(tf.reduce_mean(tf.cast(x, tf.float32), axis=(1, 2)), x.dtype)

    def softmax(self, x: Any) -> Any:
        """Turn logits into probabilities."""
        return tf.nn.softmax(x)


class FoldedOperations(TensorOperations):
    """`walk.Operations` over what `fold` returns, for images of 0..255 in any type of number."""

    def __init__(self, spec: NetworkSpec, parameters: Mapping[str, Any], kind: Any = tf.float32) -> None:
        """Use `parameters`, tensors or variables of the type `kind`, by the names that `fold` gives."""
        super().__init__(spec)
        self._scale_in_stem = spec.family == "imagenet"
        self._kind = kind
        self._parameters = parameters

    def scale(self, images: Any) -> Any:
        """Leave the scale to the first kernel where that is exact."""
        if self._scale_in_stem:
            # Every type has the whole numbers up to 255.
            return tf.cast(images, self._kind)
        return tf.cast(tf.cast(images, tf.float32) * (2 / 255) - 1, self._kind)

    def convolution(
        self, x: Any, scope: str, norm: str, *, filters: int, size: int = 1, stride: int = 1, padding: Padding = "same"
    ) -> Any:
        """Convolve and add the bias; the kernel's shape knows filters and size."""
        del filters, size
        kernel = self._parameters[f"{scope}/weights"]
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, stride, padding.upper()), self._parameters[norm])

    def separable(self, x: Any, scope: str, norm: str, *, filters: int, size: int, stride: int) -> Any:
        """Convolve each channel by itself, mix the channels, add the bias."""
        del filters, size
        depthwise = self._parameters[f"{scope}/depthwise_weights"]
        x = tf.nn.depthwise_conv2d(x, depthwise, (1, stride, stride, 1), "SAME")
        pointwise = self._parameters[f"{scope}/pointwise_weights"]
        return tf.nn.bias_add(tf.nn.conv2d(x, pointwise, 1, "VALID"), self._parameters[norm])

    def factorized_reduction(self, x: Any, scope: str, *, filters: int) -> Any:
        """Convolve the even and the odd pixels, and add the bias to both."""
        del filters
        paths = [
            tf.nn.conv2d(path, self._parameters[f"{scope}/path{number}_conv/weights"], 2, "VALID")
            for number, path in ((1, x), (2, odd_pixels(x)))
        ]
        return tf.nn.bias_add(tf.concat(paths, axis=-1), self._parameters[f"{scope}/final_path_bn"])

    def dense(self, x: Any, scope: str, *, units: int) -> Any:
        """Map [N, C] to [N, units]."""
        del units
        return x @ self._parameters[f"{scope}/weights"] + self._parameters[f"{scope}/biases"]


def zeros_around(x: Any) -> Any:
    """Pad [N, H, W, C] with zeros that windows of 3x3 in steps of 2 then count, as keras.applications' NASNet does."""
    before = [x.shape[axis] % 2 for axis in (1, 2)]
    return tf.pad(x, ((0, 0), (before[0], 1), (before[1], 1), (0, 0)))


def odd_pixels(x: Any) -> Any:
    """Shift [N, H, W, C] by one row and column, zeros following, so that even steps fall on the odd pixels."""
    return tf.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
