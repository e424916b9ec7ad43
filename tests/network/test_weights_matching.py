"""Every kind of source is matched strictly: by name and shape, with any number of classes, and with their labels."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from modules import write_saved_model
from nasfeat_server.errors import WeightsError
from nasfeat_server.network.card import ModelCard, write_card
from nasfeat_server.network.spec import VARIANTS, NetworkSpec
from nasfeat_server.network.weights import Weights, digest, load_weights
from nasfeat_server.network.weights.imagenet import class_names

if TYPE_CHECKING:
    from tests.network.conftest import Reader, Reference, Writer

KERNEL, BIASES = "final_layer/FC/weights", "final_layer/FC/biases"
SMALL = NetworkSpec(
    name="small",
    family="imagenet",
    image_size=32,
    num_classes=1001,
    num_cells=3,
    num_conv_filters=4,
    stem_multiplier=0.125,
)


def with_classes(variables: Mapping[str, Any], kernel: int, biases: int) -> dict[str, Any]:
    """Put a classifier with so many classes, by its two variables, in the place of the one there is."""
    features = variables[KERNEL].shape[0]
    return {**variables, KERNEL: np.zeros((features, kernel), np.float32), BIASES: np.zeros(biases, np.float32)}


def test_saved_models(tiny_cifar: "Reference", tmp_path: Path) -> None:
    """A SavedModel's variables are known by the names they had in Python; a common prefix is taken off."""
    weights = load_weights(tiny_cifar.checkpoint, tiny_cifar.spec)
    module = write_saved_model(tmp_path, tiny_cifar.spec, weights.variables, {}, "module/")
    assert load_weights(str(module), tiny_cifar.spec).digest == weights.digest


def test_the_names_of_a_saved_model_are_matched_strictly(tiny_cifar: "Reference", tmp_path: Path) -> None:
    """What differs in a SavedModel is named, as in any checkpoint."""
    variables = dict(load_weights(tiny_cifar.checkpoint, tiny_cifar.spec).variables)
    variables["cell_2/1x1/kernel"] = variables.pop("cell_2/1x1/weights")
    module = write_saved_model(tmp_path, tiny_cifar.spec, variables, {})
    with pytest.raises(WeightsError) as caught:
        load_weights(str(module), tiny_cifar.spec)
    assert str(caught.value).splitlines()[1:] == ["  missing: cell_2/1x1/weights", "  unexpected: cell_2/1x1/kernel"]


def test_two_variables_of_one_name(tiny_cifar: "Reference", tmp_path: Path) -> None:
    """Objects may share a name; then nobody knows which one is meant."""
    import tensorflow as tf

    module = tf.Module()
    module.held = [tf.Variable([0.0], name="l1_stem_3x3/weights") for _ in range(2)]
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(WeightsError, match="two variables of the name l1_stem_3x3/weights"):
        load_weights(str(tmp_path), tiny_cifar.spec)


def test_a_prefix_is_common_to_all_or_none(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer"
) -> None:
    """A prefix that some names lack is part of the names."""
    variables = read_variables(tiny_cifar.checkpoint)
    prefixed = {f"a/b/{name}": value for name, value in variables.items()} | {"global_step": np.int64(1)}
    assert load_weights(str(write_checkpoint(prefixed)), tiny_cifar.spec).digest == digest(variables)
    with pytest.raises(WeightsError, match="missing: cell_0/1x1/weights"):
        load_weights(str(write_checkpoint(prefixed | {"other": np.zeros(1, np.float32)})), tiny_cifar.spec)


def test_any_number_of_classes(tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer") -> None:
    """The classifier says how many classes there are; they have names only if the source names them."""
    variables = with_classes(read_variables(tiny_cifar.checkpoint), 3, 3)
    weights = load_weights(str(write_checkpoint(variables)), tiny_cifar.spec)
    assert weights.spec == dataclasses.replace(tiny_cifar.spec, num_classes=3)
    assert (weights.has_classifier, weights.labels) == (True, ())


@pytest.mark.parametrize(("kernel", "biases"), [(5, 6), (0, 0)])
def test_a_classifier_that_does_not_fit_itself(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer", kernel: int, biases: int
) -> None:
    """Of two variables that disagree both are named."""
    variables = with_classes(read_variables(tiny_cifar.checkpoint), kernel, biases)
    with pytest.raises(WeightsError) as caught:
        load_weights(str(write_checkpoint(variables)), tiny_cifar.spec)
    assert str(caught.value).splitlines()[1:] == [
        f"  wrong shape: final_layer/FC/biases is [{biases}], expected [classes]",
        f"  wrong shape: final_layer/FC/weights is [96, {kernel}], expected [96, classes]",
    ]


def test_the_variant_that_was_forgotten(write_checkpoint: "Writer") -> None:
    """Weights of another variant are recognised, so that the error says what to do."""
    from nasfeat_server.network.layers import expected_variables

    shapes = expected_variables(VARIANTS["mobile"])
    checkpoint = write_checkpoint({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    with pytest.raises(
        WeightsError, match=r"does not hold nasnet_large; .* \(it holds nasnet_mobile: the variant is mo"
    ):
        load_weights(str(checkpoint))


def test_imagenets_classes() -> None:
    """They are in the order of the published networks' outputs, the background first if it has an output."""
    names = class_names(1000)
    assert (len(names), len(class_names(1001)), class_names(11)) == (1000, 1001, ())
    assert (names[0], names[2][:17], names[999][:13]) == ("tench, Tinca tinca", "great white shark", "toilet tissue")
    assert class_names(1001)[:2] == ("background", names[0])


def small_weights(classes: int) -> Weights:
    """Draw weights of a small network with so many classes."""
    return load_weights("random:0", dataclasses.replace(SMALL, num_classes=classes))


def test_labels_of_imagenet_networks() -> None:
    """1000 or 1001 classes are ImageNet's; any other number has no names."""
    assert small_weights(1001).labels == class_names(1001)
    assert small_weights(1000).labels == class_names(1000)
    assert small_weights(7).labels == ()


def test_labels_of_a_card(
    tiny_cifar: "Reference", read_variables: "Reader", write_checkpoint: "Writer", tmp_path: Path
) -> None:
    """A module names its classes itself, all of them; without a classifier there are none to name."""
    variables = read_variables(tiny_cifar.checkpoint)
    module = write_checkpoint(with_classes(variables, 2, 2), "module/variables/variables").parents[1]
    card = ModelCard(spec=tiny_cifar.spec, labels=("cat", "dog"), trained=True)
    write_card(module, card)
    assert load_weights(str(module)).labels == ("cat", "dog")
    write_card(module, dataclasses.replace(card, labels=("cat",)))
    with pytest.raises(WeightsError, match="names 1 classes, and its classifier has 2"):
        load_weights(str(module))
    headless = {name: value for name, value in variables.items() if not name.startswith("final_layer")}
    write_checkpoint(headless, "module/variables/variables")
    assert load_weights(str(module)).labels == ()


@pytest.mark.slow
def test_the_full_network(network_large: "Reference", write_checkpoint: "Writer", tmp_path: Path) -> None:
    """A checkpoint of the published names and shapes loads as it is; each of three faults in it is named."""
    noise = np.random.default_rng(0).standard_normal(2**20, np.float32)
    variables = {name: np.resize(noise, shape) for name, shape in network_large.variables.items()}
    prefix = write_checkpoint(variables)
    try:
        weights = load_weights(str(prefix))
        assert (weights.spec, weights.digest) == (VARIANTS["large"], digest(variables))
        del variables["cell_17/beginning_bn/gamma"], weights
        variables["cell_0/1x1/kernel"] = variables.pop("cell_0/1x1/weights")
        variables["conv0/weights"] = variables["conv0/weights"].transpose(3, 0, 1, 2)
        write_checkpoint(variables)
        with pytest.raises(WeightsError) as caught:
            load_weights(str(prefix))
    finally:
        shutil.rmtree(tmp_path)
    assert str(caught.value).splitlines()[1:] == [
        "  missing: cell_0/1x1/weights",
        "  missing: cell_17/beginning_bn/gamma",
        "  unexpected: cell_0/1x1/kernel",
        "  wrong shape: conv0/weights is [96, 3, 3, 3], expected [3, 3, 3, 96]",
    ]
