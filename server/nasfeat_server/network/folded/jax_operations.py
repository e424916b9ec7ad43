"""The network as JAX operations, for XLA to compile."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import Padding

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class JaxOperations:
    """`walk.Operations` over what `fold` returns, for images of 0..255 in any type of number."""

    def __init__(self, spec: NetworkSpec, parameters: Mapping[str, Any], kind: Any) -> None:
        """Use `parameters`, arrays of the type `kind`, by the names that `fold` gives."""
        self._zeros_count = spec.wiring == "keras"
        self._scale_in_stem = spec.family == "imagenet"
        self._parameters = parameters
        self._kind = kind

    def scale(self, images: Any) -> Any:
        """Leave the scale to the first kernel where that is exact."""
        if self._scale_in_stem:
            # Every type has the whole numbers up to 255.
            return images.astype(self._kind)
        return (images.astype(jnp.float32) * (2 / 255) - 1).astype(self._kind)

    def relu(self, x: Any) -> Any:
        """Cut off negative values."""
        return jax.nn.relu(x)

    def convolution(
        self, x: Any, scope: str, norm: str, *, filters: int, size: int = 1, stride: int = 1, padding: Padding = "same"
    ) -> Any:
        """Convolve and add the bias; the kernel's shape knows filters and size."""
        del filters, size
        return _convolve(x, self._parameters[f"{scope}/weights"], stride, padding) + self._parameters[norm]

    def separable(self, x: Any, scope: str, norm: str, *, filters: int, size: int, stride: int) -> Any:
        """Convolve each channel by itself, mix the channels, add the bias."""
        del filters, size
        depthwise = self._parameters[f"{scope}/depthwise_weights"]
        rows, columns, channels, _ = depthwise.shape
        x = _convolve(x, depthwise.reshape(rows, columns, 1, channels), stride, "same", groups=channels)
        return _convolve(x, self._parameters[f"{scope}/pointwise_weights"], 1, "valid") + self._parameters[norm]

    def factorized_reduction(self, x: Any, scope: str, *, filters: int) -> Any:
        """Convolve the even and the odd pixels, and add the bias to both."""
        del filters
        odd = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
        paths = [
            _convolve(path, self._parameters[f"{scope}/path{number}_conv/weights"], 2, "valid")
            for number, path in ((1, x), (2, odd))
        ]
        return jnp.concatenate(paths, axis=-1) + self._parameters[f"{scope}/final_path_bn"]

    def average_pool(self, x: Any, *, stride: int, size: int = 3, padding: Padding = "same") -> Any:
        """Average over the pixels of a window that are inside the image; zeros count where Keras' wiring has them."""
        if self._zeros_count and stride == 2:
            return _pool(_zeros_around(x), 0, lax.add, 3, 2, "valid") / 9
        counts = _pool(jnp.ones((1, *x.shape[1:3], 1), x.dtype), 0, lax.add, size, stride, padding)
        return _pool(x, 0, lax.add, size, stride, padding) / counts

    def max_pool(self, x: Any, *, stride: int) -> Any:
        """Take the maximum of the pixels of a window."""
        if self._zeros_count and stride == 2:
            return _pool(_zeros_around(x), -jnp.inf, lax.max, 3, 2, "valid")
        return _pool(x, -jnp.inf, lax.max, 3, stride, "same")

    def drop_path(self, x: Any, cell: str) -> Any:
        """Keep everything: this is not training."""
        del cell
        return x

    def add(self, x: Any, y: Any) -> Any:
        """Add two arrays."""
        return x + y

    def concatenate(self, xs: Sequence[Any]) -> Any:
        """Put channels side by side."""
        return jnp.concatenate(xs, axis=-1)

    def global_pool(self, x: Any) -> Any:
        """Average over all pixels: [N, C]."""
        return x.mean(axis=(1, 2), dtype=jnp.float32).astype(x.dtype)

    def dense(self, x: Any, scope: str, *, units: int) -> Any:
        """Map [N, C] to [N, units]."""
        del units
        return jnp.dot(x, self._parameters[f"{scope}/weights"]) + self._parameters[f"{scope}/biases"]

    def softmax(self, x: Any) -> Any:
        """Turn logits into probabilities."""
        return jax.nn.softmax(x)


def _convolve(x: Any, kernel: Any, stride: int, padding: Padding, groups: int = 1) -> Any:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding.upper(), dimension_numbers=_LAYOUT, feature_group_count=groups
    )


def _pool(x: Any, start: float, combine: Any, size: int, stride: int, padding: Padding) -> Any:
    window, steps = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, jnp.array(start, x.dtype), combine, window, steps, padding.upper())


def _zeros_around(x: Any) -> Any:
    """Pad [N, H, W, C] with zeros that windows of 3x3 in steps of 2 then count, as keras.applications' NASNet does."""
    rows, columns = x.shape[1] % 2, x.shape[2] % 2
    return jnp.pad(x, ((0, 0), (rows, 1), (columns, 1), (0, 0)))
