"""The network as it is trained: TensorFlow operations over named variables, batch normalisation by itself."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from nasfeat_server.network.folded.tensor_operations import TensorOperations, odd_pixels
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import Padding

Update = Callable[[Any, Any], None]
"""Is given a moving statistic's variable and the batch's value of it."""


class VariableOperations(TensorOperations):
    """`walk.Operations` over variables by TF-Slim's names, for images of 0..1, in a graph or a `tf.function`.

    What they add is named after the scope, as in a graph that TF-Slim makes.
    """

    def __init__(self, spec: NetworkSpec, variables: Mapping[str, Any], update: Update | None = None) -> None:
        """Normalise with moving statistics; or, to train, with the batch's, which `update` is told, and drop paths."""
        super().__init__(spec)
        self._spec = spec
        self._variables = variables
        self._update = update

    def scale(self, images: Any) -> Any:
        """Bring 0..1 to -1..1."""
        return images * 2 - 1

    def convolution(
        self, x: Any, scope: str, norm: str, *, filters: int, size: int = 1, stride: int = 1, padding: Padding = "same"
    ) -> Any:
        """Convolve, then normalise; the kernel's shape knows filters and size."""
        del filters, size
        with tf.name_scope(f"{scope}/"):
            x = tf.nn.conv2d(x, self._variables[f"{scope}/weights"], stride, padding.upper())
        return self._normalise(x, norm)

    def separable(self, x: Any, scope: str, norm: str, *, filters: int, size: int, stride: int) -> Any:
        """Convolve each channel by itself, mix the channels, then normalise."""
        del filters, size
        with tf.name_scope(f"{scope}/"):
            depthwise = self._variables[f"{scope}/depthwise_weights"]
            x = tf.nn.depthwise_conv2d(x, depthwise, (1, stride, stride, 1), "SAME")
            x = tf.nn.conv2d(x, self._variables[f"{scope}/pointwise_weights"], 1, "VALID")
        return self._normalise(x, norm)

    def factorized_reduction(self, x: Any, scope: str, *, filters: int) -> Any:
        """Convolve the even and the odd pixels, then normalise both as one."""
        del filters
        with tf.name_scope(f"{scope}/"):
            paths = [
                tf.nn.conv2d(path, self._variables[f"{scope}/path{number}_conv/weights"], 2, "VALID")
                for number, path in ((1, x), (2, odd_pixels(x)))
            ]
            x = tf.concat(paths, axis=-1)
        return self._normalise(x, f"{scope}/final_path_bn")

    def drop_path(self, x: Any, cell: str) -> Any:
        """Zero [N, H, W, C] for some of the N, and scale up the others as much as is lost on average."""
        keep = self._spec.keep_probability(cell)
        if self._update is None or keep == 1:
            return x
        with tf.name_scope(f"{cell}/drop_path"):
            kept = tf.floor(tf.random.uniform((tf.shape(x)[0], 1, 1, 1)) + keep)
            return x * (1 / keep) * kept

    def dense(self, x: Any, scope: str, *, units: int) -> Any:
        """Map [N, C] to [N, units]."""
        del units
        with tf.name_scope(f"{scope}/"):
            return tf.matmul(x, self._variables[f"{scope}/weights"]) + self._variables[f"{scope}/biases"]

    def _normalise(self, x: Any, norm: str) -> Any:
        gamma, beta, mean, variance = (
            self._variables[f"{norm}/{vector}"] for vector in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        epsilon, kernel = self._spec.batch_norm_epsilon, tf.compat.v1.nn.fused_batch_norm
        with tf.name_scope(f"{norm}/"):
            if self._update is None:
                return kernel(x, gamma, beta, mean, variance, epsilon=epsilon, is_training=False)[0]
            # The kernel divides by one pixel less for the variance it returns, as the original's statistics need it.
            x, batch_mean, batch_variance = kernel(x, gamma, beta, epsilon=epsilon, is_training=True)
            self._update(mean, batch_mean)
            self._update(variance, batch_variance)
        return x
