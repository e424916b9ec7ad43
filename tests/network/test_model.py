"""The Keras model and the public way to it."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from nasfeat_server import network as nasnet
from nasfeat_server.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.network.conftest import Reader, Reference, Writer


def test_every_endpoint_is_the_originals(tiny: "Reference") -> None:
    """The Keras model agrees with the original in every end point, to 1e-4 in relative L2 norm."""
    expected = tiny.arrays()
    images = expected.pop("images")
    network = nasnet.load(tiny.checkpoint, tiny.spec)
    endpoints = network.endpoints(images)
    assert endpoints.keys() == expected.keys()
    for name, value in expected.items():
        assert np.linalg.norm(endpoints[name] - value) < 1e-4 * np.linalg.norm(value), name
    features = network.features(images)
    assert features.dtype == np.float32
    assert np.linalg.norm(features - expected["global_pool"]) < 1e-4 * np.linalg.norm(expected["global_pool"])


def test_the_models_variables_are_the_originals(tiny_mobile: "Reference") -> None:
    """A fresh model has exactly the original's parameters, and trains with its decay and epsilon."""
    model = nasnet.build(tiny_mobile.spec)
    assert model.count_params() == sum(int(np.prod(shape)) for shape in tiny_mobile.variables.values())
    norm = model.get_layer("cell_0.beginning_bn")
    assert (norm.momentum, norm.epsilon) == (0.9997, 1e-3)


def test_weights_without_classifier_end_in_features(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer"
) -> None:
    """A feature-vector module has no logits to offer, and all the rest."""
    variables = {
        name: value for name, value in read_variables(tiny_cifar.checkpoint).items() if "final_layer" not in name
    }
    endpoints = nasnet.load(str(write_checkpoint(variables)), tiny_cifar.spec).endpoints(tiny_cifar.arrays()["images"])
    assert set(tiny_cifar.endpoints) - set(endpoints) == {"Logits", "Predictions"}


def test_a_network_knows_its_weights(tiny_cifar: "Reference") -> None:
    """Untrained weights are called so, wherever the network is shown."""
    network = nasnet.load("random:3", tiny_cifar.spec)
    assert not network.trained
    assert repr(network) == f"<Network tiny_cifar {network.weights_digest[:14]} trained=False>"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 32, 32, 3)), r"float32 \[N, 32, 32, 3\], not float64 \[1, 32, 32, 3\]"),
        (np.zeros((32, 32, 3), np.float32), r"not float32 \[32, 32, 3\]"),
        (np.zeros((1, 33, 32, 3), np.float32), r"not float32 \[1, 33, 32, 3\]"),
        (np.zeros((0, 32, 32, 3), np.float32), r"not float32 \[0, 32, 32, 3\]"),
        (np.full((1, 32, 32, 3), 255, np.float32), r"in 0\.\.1, and reach from 255\.0 to 255\.0"),
        (np.full((1, 32, 32, 3), np.nan, np.float32), r"in 0\.\.1, and reach from nan"),
    ],
)
def test_wrong_images_are_refused(tiny_cifar: "Reference", images: npt.NDArray[Any], message: str) -> None:
    """The message holds what was given and what is wanted."""
    network = nasnet.load("random:0", tiny_cifar.spec)
    with pytest.raises(ValueError, match=message):
        network.features(images)


def test_unknown_variant() -> None:
    """A wrong variant is a configuration error."""
    with pytest.raises(ConfigurationError, match="no variant"):
        nasnet.load("random:0", "huge")
