"""The folded network computes what the original computes."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from nasfeat_server.network.weights import load_weights

if TYPE_CHECKING:
    from tests.network.conftest import Reference


def test_every_endpoint_is_the_originals(tiny: "Reference") -> None:
    """Folded operations agree with the original in every end point, to 1e-4 in relative L2 norm."""
    import tensorflow as tf

    from nasfeat_server.network.folded.fold import fold
    from nasfeat_server.network.folded.tensor_operations import FoldedOperations
    from nasfeat_server.network.walk import walk

    expected = tiny.arrays()
    parameters = fold(tiny.spec, dict(load_weights(tiny.checkpoint, tiny.spec).variables))
    endpoints = walk(tiny.spec, FoldedOperations(tiny.spec, parameters), tf.constant(expected.pop("images") * 255))
    assert endpoints.keys() == expected.keys()
    for name, value in expected.items():
        assert np.linalg.norm(endpoints[name] - value) < 1e-4 * np.linalg.norm(value), name


def test_folding_takes_the_variables_and_leaves_none(tiny_mobile: "Reference") -> None:
    """The raw arrays are given up one by one; what is left holds one bias for each batch normalisation."""
    from nasfeat_server.network.folded.fold import fold

    variables = dict(load_weights(tiny_mobile.checkpoint, tiny_mobile.spec).variables)
    folded = fold(tiny_mobile.spec, variables)
    assert not variables
    assert not [name for name in folded if name.endswith(("gamma", "beta", "moving_mean", "moving_variance"))]
    assert {array.dtype for array in folded.values()} == {np.dtype(np.float32)}


def test_the_other_networks_weights_do_not_fold(tiny_mobile: "Reference", tiny_cifar: "Reference") -> None:
    """Weights of another network are not folded by chance."""
    from nasfeat_server.network.folded.fold import fold

    with pytest.raises(KeyError):
        fold(tiny_cifar.spec, dict(load_weights(tiny_mobile.checkpoint, tiny_mobile.spec).variables))
