"""The network's structure, checked without a framework against what the original lists."""

import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.layers import _Recorder, _Shape, classifier_variables, convolutions, expected_variables
from nasfeat_server.network.spec import VARIANTS, find_spec
from nasfeat_server.network.walk import walk

if TYPE_CHECKING:
    from tests.network.conftest import Reference


def test_variables_are_the_originals(network: "Reference") -> None:
    """Every variable has the name and the shape of the original's, and there are no others."""
    assert expected_variables(network.spec) == network.variables


def test_endpoints_are_the_originals(network: "Reference") -> None:
    """Every end point has the name, the place in the order, and the shape of the original's."""
    size = network.spec.image_size
    endpoints = walk(network.spec, _Recorder(), _Shape((2, size, size, 3)))
    assert [(name, value.shape) for name, value in endpoints.items()] == list(network.endpoints.items())


def test_feature_length_is_what_the_walk_ends_in(network: "Reference") -> None:
    """The spec knows the length of a feature vector without a walk."""
    assert network.endpoints["global_pool"] == (2, network.spec.feature_length)


@pytest.mark.parametrize(
    ("variant", "parameters", "features", "size"),
    [("large", 88_953_851, 4032, 331), ("mobile", 5_327_773, 1056, 224), ("cifar", 3_383_786, 768, 32)],
)
def test_published_figures(variant: str, parameters: int, features: int, size: int) -> None:
    """The variants have the published sizes."""
    spec = VARIANTS[variant]
    assert sum(math.prod(shape) for shape in expected_variables(spec).values()) == parameters
    assert (spec.feature_length, spec.image_size) == (features, size)


def test_batch_norms_cover_the_outputs_of_their_kernels(network: "Reference") -> None:
    """A layer's filters, also of several kernels side by side, are as many as its batch normalisation's values."""
    for layer in convolutions(network.spec):
        assert network.variables[f"{layer.norm}/gamma"] == (layer.filters,)


def test_classifier_is_the_last_layer(tiny_mobile: "Reference") -> None:
    """Only the fully connected layer is the classifier's own."""
    assert classifier_variables(tiny_mobile.spec) == {"final_layer/FC/weights", "final_layer/FC/biases"}


def test_unknown_variant_names_the_known_ones() -> None:
    """A wrong variant is answered with the right ones."""
    with pytest.raises(ConfigurationError, match=r"no variant 'huge'.*large, mobile, cifar"):
        find_spec("huge")


def test_a_spec_is_its_own_variant(tiny_mobile: "Reference") -> None:
    """Wherever a variant is named, a spec may stand."""
    assert find_spec(tiny_mobile.spec) is tiny_mobile.spec


def test_describing_a_network_brings_no_framework() -> None:
    """The package, the specs and the list of variables work in a process that never imports TensorFlow."""
    script = (
        "import sys, nasfeat_server.network as network, nasfeat_server.network.weights\n"
        "from nasfeat_server.network.layers import expected_variables\n"
        "expected_variables(network.VARIANTS['large'])\n"
        "assert not {'tensorflow', 'keras', 'tensorflow_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
