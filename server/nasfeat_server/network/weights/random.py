"""Random weights that are the same on every machine and keep every activation in range.

Kernels are drawn uniformly from raw generator bits: no function whose last bit depends on the machine. Then the
network runs in float64 over made-up images, and each batch normalisation's moving statistics become those of its
input, rounded so coarsely that differences in the order of summation do not show.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nasfeat_server.network.folded.tensor_operations import TensorOperations, odd_pixels
from nasfeat_server.network.layers import DEPTHWISE_SUFFIX, expected_variables
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import Padding, walk

Array = npt.NDArray[np.float32]

_IMAGES = 8
_IMAGE_SIZE = 96
_STEP = 1 / 64
_VECTORS = {
    "gamma": (1, 0.25),
    "beta": (0, 0.25),
    "biases": (0, 0.25),
    "moving_mean": (0, 0),
    "moving_variance": (1, 0),
}
"""Centre and half width of the range that each kind of vector is drawn from."""


def random_variables(spec: NetworkSpec, seed: int) -> dict[str, Array]:
    """Draw every variable of `spec`, sorted by name, float32, and calibrate the moving statistics.

    Args:
        spec: which network.
        seed: any whole number from 0; different seeds give different networks.
    """
    # One seed is one set of weights, however they are wired when they are used.
    spec = dataclasses.replace(spec, wiring="slim")
    variables = {name: _draw(name, shape, seed) for name, shape in expected_variables(spec).items()}
    images = _images(min(spec.image_size, _IMAGE_SIZE), seed)
    with tf.device("CPU:0"):  # the same arithmetic wherever there is a GPU, and none of its memory
        walk(spec, _CalibratingOperations(spec, variables), tf.constant(images), classifier=False)
    return variables


def _draw(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """Draw a variable: kernels scaled by how much they sum over, batch normalisations that change little."""
    noise = _uniform(name, shape, seed)
    if name.endswith(DEPTHWISE_SUFFIX):
        window = _window(shape[0])
        noise *= window * np.sqrt(3 / np.square(window).sum())
    elif len(shape) > 1:
        noise *= np.sqrt(np.float32(3 / np.prod(shape[:-1])))
    else:
        centre, spread = _VECTORS[name.rpartition("/")[2]]
        noise = np.float32(centre) + np.float32(spread) * noise
    return noise


def _window(size: int) -> Array:
    """Weigh a depthwise kernel's centre, as training does, or padding would count for more in small images."""
    distance = np.abs(np.arange(size) - size // 2)
    window: Array = np.ldexp(np.float32(1), -2 * np.maximum.outer(distance, distance))
    return window[:, :, None, None]


def _uniform(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """Draw float32 from -1..1 in steps of 2^-23, from bits that depend on seed and name alone."""
    size = int(np.prod(shape))
    key = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:16], "little")
    words: npt.NDArray[np.uint64] = np.random.Philox(key=key).random_raw((size + 1) // 2)
    halves = words.astype("<u8", copy=False).view("<u4")[:size].reshape(shape)
    return (halves >> 8).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def _images(size: int, seed: int) -> npt.NDArray[np.float64]:
    """Make images [N, size, size, 3] in 0..1: like photographs, more contrast in large patches and in brightness."""
    total = np.zeros((_IMAGES, size, size, 3))
    for block, weight in ((size, 0.6), (32, 0.6), (8, 0.21), (2, 0.09)):
        count = -(-size // block)
        for channels, share in ((1, 0.7), (3, 0.3)):
            noise = _uniform(f"images {block} {channels}", (_IMAGES, count, count, channels), seed).astype(np.float64)
            total += weight * share * noise.repeat(block, axis=1).repeat(block, axis=2)[:, :size, :size]
    return np.clip(0.5 + total, 0, 1)


class _CalibratingOperations(TensorOperations):
    """`walk.Operations` in float64 that set each batch normalisation's statistics when they come to it."""

    def __init__(self, spec: NetworkSpec, variables: dict[str, Array]) -> None:
        super().__init__(spec)
        self._epsilon = spec.batch_norm_epsilon
        self._variables = variables

    def scale(self, images: Any) -> Any:
        return 2 * images - 1

    def convolution(
        self, x: Any, scope: str, norm: str, *, filters: int, size: int = 1, stride: int = 1, padding: Padding = "same"
    ) -> Any:
        del filters, size
        return self._normalise(tf.nn.conv2d(x, self._kernel(f"{scope}/weights"), stride, padding.upper()), norm)

    def separable(self, x: Any, scope: str, norm: str, *, filters: int, size: int, stride: int) -> Any:
        del filters, size
        strides = (1, stride, stride, 1)
        x = tf.nn.depthwise_conv2d(x, self._kernel(f"{scope}/depthwise_weights"), strides, "SAME")
        return self._normalise(tf.nn.conv2d(x, self._kernel(f"{scope}/pointwise_weights"), 1, "VALID"), norm)

    def factorized_reduction(self, x: Any, scope: str, *, filters: int) -> Any:
        del filters
        paths = [
            tf.nn.conv2d(path, self._kernel(f"{scope}/path{number}_conv/weights"), 2, "VALID")
            for number, path in ((1, x), (2, odd_pixels(x)))
        ]
        return self._normalise(tf.concat(paths, axis=-1), f"{scope}/final_path_bn")

    def dense(self, x: Any, scope: str, *, units: int) -> Any:
        raise NotImplementedError  # the classifier has nothing to calibrate

    def _kernel(self, name: str) -> Any:
        return tf.constant(self._variables[name], tf.float64)

    def _normalise(self, x: Any, norm: str) -> Any:
        pixels = x.numpy().reshape(-1, x.shape[-1])
        mean = _rounded(pixels.mean(axis=0))
        # One variance for all channels: of few pixels, single channels would seem far too steady.
        variance = np.full_like(mean, max(_rounded(pixels.var(axis=0).mean()), _STEP))
        self._variables[f"{norm}/moving_mean"] = mean.astype(np.float32)
        self._variables[f"{norm}/moving_variance"] = variance.astype(np.float32)
        gamma, beta = (self._variables[f"{norm}/{vector}"] for vector in ("gamma", "beta"))
        return (x - mean) * (gamma / np.sqrt(variance + self._epsilon)) + beta


def _rounded(values: Any) -> Any:
    return np.round(values / _STEP) * _STEP
