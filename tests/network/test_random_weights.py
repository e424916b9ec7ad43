"""Random weights are the same everywhere and keep the network's activations in range."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
import skimage.transform

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.layers import expected_variables
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights import load_weights

if TYPE_CHECKING:
    from tests.network.conftest import Reference

DIGESTS = {
    "tiny_mobile": "sha256:9b6afa1155f90cf0c182f2c97c7ba04c859e60ec89febcc37576437550e9239f",
    "tiny_large": "sha256:e88821c56be561a74fd9df52108f89935d2270bb8edd71b8cd6938dff45b7b76",
    "tiny_cifar": "sha256:455709383cafb26c3ff6a340a5ebf17f9be1b96ab8775be81dae84ccc8863ea1",
}


def photographs(size: int) -> npt.NDArray[np.float32]:
    """Four photographs, float32 [4, size, size, 3] in 0..1."""
    pictures = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    return np.stack([skimage.transform.resize(picture, (size, size)) for picture in pictures]).astype(np.float32)


def test_the_same_everywhere(tiny: "Reference") -> None:
    """A seed stands for the same weights on every machine and in every release."""
    assert load_weights("random:0", tiny.spec).digest == DIGESTS[tiny.spec.name]


def test_complete_and_untrained(tiny: "Reference") -> None:
    """Every variable is there, float32, of its shape; and nobody takes them for trained ones."""
    weights = load_weights("random:0", tiny.spec)
    assert {name: array.shape for name, array in weights.variables.items()} == expected_variables(tiny.spec)
    assert {array.dtype for array in weights.variables.values()} == {np.dtype(np.float32)}
    assert not weights.trained


def test_seeds_differ(tiny_cifar: "Reference") -> None:
    """Another seed is another network."""
    seeds = ("random:0", "random:1", "random:10", "random:18446744073709551616")
    assert len({load_weights(seed, tiny_cifar.spec).digest for seed in seeds}) == len(seeds)


@pytest.mark.parametrize("source", ["random:", "random:x", "random:-1", "random:1.5"])
def test_wrong_seeds(tiny_cifar: "Reference", source: str) -> None:
    """A seed is a whole number."""
    with pytest.raises(WeightsError, match="random:SEED with a whole number"):
        load_weights(source, tiny_cifar.spec)


@pytest.mark.parametrize("variant", ["mobile", pytest.param("large", marks=pytest.mark.slow)])
def test_photographs_stay_apart_and_in_range(variant: str) -> None:
    """Through all cells of a full network, photographs keep activations of order one, and features that differ."""
    import tensorflow as tf

    from nasfeat_server.network.folded.fold import fold
    from nasfeat_server.network.folded.tensor_operations import FoldedOperations
    from nasfeat_server.network.walk import walk

    spec = VARIANTS[variant]
    images = tf.constant(photographs(spec.image_size) * 255)
    parameters = fold(spec, dict(load_weights("random:0", spec).variables))
    endpoints = walk(spec, FoldedOperations(spec, parameters), images)
    spreads = {name: float(np.std(value)) for name, value in endpoints.items() if name != "Predictions"}
    assert all(0.3 < spread < 15 for spread in spreads.values()), spreads
    correlation = np.corrcoef(endpoints["global_pool"])
    assert correlation[~np.eye(len(correlation), dtype=bool)].max() < 0.99
