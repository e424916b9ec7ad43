"""What holds for a module in every form."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from nasfeat_server.network.card import read_card
from nasfeat_server.network.export import Form, write_module
from nasfeat_server.network.export.verify import run
from nasfeat_server.network.weights import load_weights

if TYPE_CHECKING:
    from tests.export.conftest import Distance, Exported, Recorded

FORMS = get_args(Form)
VECTORS = ("global_pool", "Logits", "Predictions")
# TensorFlow takes seconds to write a module and to read it. Both its forms are of the operations that are tested on
# every network in test_variable_operations.py; test_hub_form.py runs one of TF1 Hub's format.
WRITTEN = [(name, form) for name in ("tiny_mobile", "tiny_large", "tiny_cifar") for form in ("onnx", "openvino")]
WRITTEN += [("tiny_cifar", "savedmodel")]


@pytest.mark.parametrize(("name", "form"), WRITTEN)
def test_vectors_are_the_originals(
    name: str, form: Form, exported: "Exported", recorded: Callable[[str], "Recorded"], distance: "Distance"
) -> None:
    """Run by what reads the form, a module gives the original's features, logits and probabilities, to 1e-4."""
    expected = recorded(name)
    outputs = run(exported(name, form), form, expected.images, VECTORS)
    assert all(distance(outputs[vector], expected.inference[vector]) < 1e-4 for vector in VECTORS)


@pytest.mark.parametrize("form", ["hub", "savedmodel"])
def test_variables_read_back_bit_for_bit(
    form: Form, exported: "Exported", recorded: Callable[[str], "Recorded"]
) -> None:
    """A module of TensorFlow's is a source of the very same weights, and says itself which network it is."""
    written, read = recorded("tiny_cifar").weights, load_weights(str(exported("tiny_cifar", form)))
    assert (read.digest, read.spec, read.trained) == (written.digest, written.spec, written.trained)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_keras_wiring(form: Form, recorded: Callable[[str], "Recorded"], tmp_path: Path, distance: "Distance") -> None:
    """In Keras' wiring a module computes what the folded network so wired does, which is not what the original does."""
    import tensorflow as tf

    from nasfeat_server.network.folded.fold import fold
    from nasfeat_server.network.folded.tensor_operations import FoldedOperations
    from nasfeat_server.network.walk import walk

    expected = recorded("tiny_mobile")
    spec = dataclasses.replace(expected.weights.spec, wiring="keras")
    folded = FoldedOperations(spec, fold(spec, dict(expected.weights.variables)))
    features = walk(spec, folded, tf.constant(expected.images * 255))["global_pool"].numpy()
    write_module(dataclasses.replace(expected.weights, spec=spec), tmp_path / "module", form=form)
    found = run(tmp_path / "module", form, expected.images, ("global_pool",))["global_pool"]
    assert distance(found, features) < 1e-4
    assert distance(found, expected.inference["global_pool"]) > 1e-2


@pytest.mark.parametrize("form", FORMS)
def test_card(form: Form, exported: "Exported", recorded: Callable[[str], "Recorded"]) -> None:
    """Every form brings the card that says which network it is."""
    card = read_card(exported("tiny_cifar", form))
    assert card is not None
    assert (card.spec, card.labels, card.trained) == (recorded("tiny_cifar").weights.spec, (), True)
