"""The network as it is trained: what changes in a step, and what does not."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.spec import VARIANTS, find_spec
from nasfeat_server.network.training.options import Recipe
from nasfeat_server.network.weights import Weights, load_weights

LABELS = ("coffee", "tea", "water")


@pytest.fixture
def weights(spec_file: Path) -> Weights:
    """Random weights of the smallest network, with its classifier of 10 classes."""
    return load_weights("random:0", str(spec_file))


def build(weights: Weights, labels: tuple[str, ...] = LABELS, **recipe: Any) -> Any:
    """Build a model to train, with a decay that shows in one step."""
    import keras

    from nasfeat_server.network.training.trainable import trainable_model

    keras.utils.set_random_seed(0)
    return trainable_model(weights, labels, Recipe(**recipe), decay=0.5)


def variables(model: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Read a model's variables by TF-Slim's names."""
    from nasfeat_server.network.model import variables_of

    return {name: variable.numpy() for name, variable in variables_of(model).items()}


def changed_by_a_step(model: Any, size: int) -> set[str]:
    """Train one step on noise, and name what is not as before."""
    before = variables(model)
    model.optimizer.learning_rate = 0.1
    images = np.random.default_rng(0).random((4, size, size, 3), np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    model.run_eagerly = True
    model.train_on_batch(images, dict.fromkeys(model.output, targets))
    return {name for name, value in variables(model).items() if not np.array_equal(value, before[name])}


def test_all_is_trained_and_starts_from_the_weights(weights: Weights) -> None:
    """A step changes every variable, moving statistics and auxiliary head too; only the heads are new before it."""
    model = build(weights, auxiliary=True)
    start = variables(model)
    assert model.output["logits"].shape == model.output["auxiliary"].shape == (None, 3)
    for name, value in weights.variables.items():
        if not name.startswith("final_layer"):
            assert np.array_equal(start[name], value), name
    # A kernel that only reads what its ReLU cuts off has no gradient: some do, of random weights and four pictures.
    unchanged = start.keys() - changed_by_a_step(model, weights.spec.image_size)
    assert len(unchanged) < len(start) / 50
    assert not [name for name in unchanged if "moving" in name or "aux_" in name or "final_layer" in name]


def test_without_the_auxiliary_head_there_is_none(weights: Weights) -> None:
    """Its variables are not made, and inference finds exactly what it needs."""
    from nasfeat_server.network.training.trainable import inference_variables

    model = build(weights)
    assert set(model.output) == {"logits"}
    assert list(inference_variables(model)) == sorted(weights.variables)
    assert not [name for name in variables(model) if name.startswith("aux_")]


@pytest.mark.parametrize(
    ("up_to", "frozen"),
    [
        ("stem", ("l1_stem_3x3", "l1_stem_bn")),
        ("reduction_cell_0", ("l1_stem_3x3", "l1_stem_bn", "cell_0", "reduction_cell_0")),
    ],
)
def test_what_is_frozen_stays(weights: Weights, up_to: str, frozen: tuple[str, ...]) -> None:
    """Kernels, scales and moving statistics up to the cell stay; moving statistics after it, and the head, change."""
    model = build(weights, freeze_up_to=up_to)
    changed = changed_by_a_step(model, weights.spec.image_size)
    assert not [name for name in changed if name.split("/")[0] in frozen]
    later = {name for name in variables(model) if name.split("/")[0] not in frozen}
    assert later - changed <= {name for name in later if "moving" not in name and "final_layer" not in name}
    assert len(changed) > 0.9 * len(later)


def test_frozen_batch_normalisations_use_the_moving_statistics(weights: Weights) -> None:
    """With all cells frozen, training computes the features of inference."""
    import keras

    model = build(weights, freeze_up_to=weights.spec.cells[-1], dropout=0.0)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    pooled = keras.Model(model.input, model.get_layer("final_layer.FC").input)
    training, inference = (np.asarray(pooled(images, training=training)) for training in (True, False))
    np.testing.assert_allclose(training, inference, rtol=1e-5, atol=1e-5)


def test_an_unknown_cell_is_answered_with_those_there_are(weights: Weights) -> None:
    """The message lists what can be frozen."""
    from nasfeat_server.network.training.trainable import check_recipe, frozen_cells

    with pytest.raises(
        ConfigurationError, match=r"smallest has no cell 'cell_9'; it has stem, cell_0, reduction_cell_0, cell_1"
    ):
        check_recipe(weights.spec, Recipe(freeze_up_to="cell_9"))
    assert frozen_cells(VARIANTS["large"], "stem") == ("cell_stem_0", "cell_stem_1")
    assert frozen_cells(VARIANTS["large"], "cell_0") == ("cell_stem_0", "cell_stem_1", "cell_0")


def test_an_auxiliary_head_needs_something_to_train(spec_file: Path) -> None:
    """Where the cell it reads is frozen, it is refused."""
    from nasfeat_server.network.training.trainable import check_recipe

    spec = find_spec(str(spec_file))
    check_recipe(spec, Recipe(freeze_up_to="stem", auxiliary=True))
    with pytest.raises(ConfigurationError, match="the auxiliary head reads cell_0, which is frozen"):
        check_recipe(spec, Recipe(freeze_up_to="cell_0", auxiliary=True))


def test_the_classifier_is_kept_for_the_same_classes(weights: Weights) -> None:
    """Weights that say that they are of these very classes keep their classifier; for other classes it is new."""
    ten = tuple("abcdefghij")
    own = dataclasses.replace(weights, labels=ten)
    name = "final_layer/FC/weights"
    assert np.array_equal(variables(build(own, ten))[name], weights.variables[name])
    assert not np.array_equal(variables(build(own, ten[::-1]))[name], weights.variables[name])


def test_only_kernels_decay(weights: Weights) -> None:
    """Without a gradient, a step of rate 0.5 shrinks kernels by 0.5 x 0.2, and leaves vectors as they are."""
    model = build(weights, weight_decay=0.2)
    before = variables(model)
    model.optimizer.learning_rate = 0.5
    model.optimizer.apply([np.zeros(v.shape, np.float32) for v in model.trainable_variables], model.trainable_variables)
    for name, value in variables(model).items():
        np.testing.assert_allclose(value, before[name] * (0.9 if value.ndim > 1 else 1), rtol=1e-5, err_msg=name)


def test_the_recipe_reaches_the_layers(weights: Weights) -> None:
    """Decay, path dropout and the classifier's dropout are set where they work; the features are before the latter."""
    import keras

    from nasfeat_server.network.batch_norm import BatchNormalization

    model = build(weights, dropout=0.25, drop_path_keep_prob=0.7)
    rates = {round(layer.rate, 6) for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {0.25, 0.1, 0.2, 0.3}
    assert {layer.momentum for layer in model.layers if isinstance(layer, BatchNormalization)} == {0.5}
    last = next(layer for layer in model.layers if getattr(layer, "rate", 0) == 0.25)
    assert last.output is model.get_layer("final_layer.FC").input
    assert last.input.shape == (None, weights.spec.feature_length)
