"""Batch normalisation folded into the convolutions: what is left of the variables when a network only serves."""

from collections.abc import MutableMapping

import numpy as np
import numpy.typing as npt

from nasfeat_server.network.layers import Layer, convolutions
from nasfeat_server.network.spec import NetworkSpec

Array = npt.NDArray[np.float32]

_STEM = "conv0/weights"


def fold(spec: NetworkSpec, variables: MutableMapping[str, Array]) -> dict[str, Array]:
    """Fold every batch normalisation into the kernels before it.

    Args:
        spec: the network that the variables are of.
        variables: float32 arrays by TF-Slim's names; emptied on the way, so that a large network is never held twice.

    Returns:
        float32 arrays: each kernel and the classifier's variables under their own names, and under the name of each
        batch normalisation the bias that is left of it. The ImageNet family's first kernel takes pixels of 0..255.
    """
    folded: dict[str, Array] = {}
    for layer in convolutions(spec):
        scale, folded[layer.norm] = _affine(layer, variables, spec.batch_norm_epsilon)
        folded |= {kernel.name: variables.pop(kernel.name) for kernel in layer.kernels}
        bounds = np.cumsum([kernel.shape[-1] for kernel in layer.mixing])[:-1]
        for kernel, part in zip(layer.mixing, np.split(scale, bounds), strict=True):
            folded[kernel.name] = folded[kernel.name] * part
    if spec.family == "imagenet":
        # Exact because this convolution does not pad: 2x/255 - 1 is affine, and zeros would not be.
        folded["conv0_bn"] = folded["conv0_bn"] - folded[_STEM].sum(axis=(0, 1, 2))
        folded[_STEM] = folded[_STEM] * np.float32(2 / 255)
    folded |= variables
    variables.clear()
    return folded


def _affine(layer: Layer, variables: MutableMapping[str, Array], epsilon: float) -> tuple[Array, Array]:
    """Take a batch normalisation's vectors and return it as scale and bias."""
    gamma, beta, mean, variance = (
        variables.pop(f"{layer.norm}/{vector}").astype(np.float64)
        for vector in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)
