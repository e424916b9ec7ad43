"""The module in TF2's format keeps to the convention that `hub.KerasLayer` fine-tunes by."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nasfeat_server.network.weights import Weights

if TYPE_CHECKING:
    from tests.export.conftest import Distance, Exported, Recorded

UPDATED = "after_update/"


@pytest.fixture(scope="module")
def loaded(hub: Any, exported: "Exported") -> Any:
    """The module of the smallest network, once for several tests."""
    return hub.load(str(exported("smallest", "savedmodel")))


def by_name(variables: Any) -> dict[str, Any]:
    """Give variables by their names, without TensorFlow's ":0"."""
    return {variable.name.removesuffix(":0"): variable for variable in variables}


def test_called_it_gives_features(
    hub: Any, exported: "Exported", recorded: Callable[[str], "Recorded"], distance: "Distance"
) -> None:
    """The loaded object gives the original's features; in training those of batch statistics, which it moves."""
    expected = recorded("tiny_cifar")
    module = hub.load(str(exported("tiny_cifar", "savedmodel")))
    assert distance(module(expected.images), expected.inference["global_pool"]) < 1e-4
    assert distance(module(expected.images, training=True), expected.training["global_pool"]) < 1e-4
    variables = by_name(module.variables)
    updated = {name: value for name, value in expected.training.items() if name.startswith(UPDATED)}
    assert updated
    for name, value in updated.items():
        assert distance(variables[name.removeprefix(UPDATED)], value) < 1e-6, name


def test_variables_and_signatures(loaded: Any, smallest: Weights) -> None:
    """Variables have TF-Slim's names; those to train are those that the features depend on and gradients change."""
    import tensorflow as tf

    names = set(smallest.variables)
    assert set(by_name(loaded.variables)) == names
    fixed = {name for name in names if name.startswith("final_layer/") or "/moving_" in name}
    assert set(by_name(loaded.trainable_variables)) == names - fixed
    assert set(loaded.signatures) == {"serving_default", "default", "image_feature_vector", "image_classification"}
    images = tf.constant(np.random.default_rng(0).random((3, 16, 16, 3), np.float32))
    classified = loaded.signatures["image_classification"](images=images)
    described = loaded.signatures["image_feature_vector"](images=images)
    assert described["default"].shape == (3, smallest.spec.feature_length)
    assert np.array_equal(classified["default"], classified["logits"])
    assert np.array_equal(classified["default"], described["Logits"])
    assert np.array_equal(loaded(images), described["default"])
    assert {"Stem", "Reduction_Cell_0", "Cell_1"} <= set(described)


def test_dropped_paths(loaded: Any) -> None:
    """In training two calls on the same images differ, and otherwise they do not."""
    images = np.random.default_rng(0).random((8, 16, 16, 3), np.float32)
    assert np.array_equal(loaded(images), loaded(images))
    assert not np.array_equal(loaded(images, training=True), loaded(images, training=True))


def test_momentum_is_an_argument(loaded: Any, distance: "Distance") -> None:
    """How fast training moves the statistics can be told, since 0.9997 is too slow for a short fine-tuning."""
    import tensorflow as tf

    variables = by_name(loaded.variables)
    images = np.random.default_rng(0).random((8, 16, 16, 3), np.float32)
    convolved = tf.nn.conv2d(images * 2 - 1, variables["l1_stem_3x3/weights"], 1, "SAME").numpy()
    pixels = convolved.reshape(-1, convolved.shape[-1])
    batch = {"moving_mean": pixels.mean(axis=0), "moving_variance": pixels.var(axis=0, ddof=1)}
    expected = {name: 0.25 * variables[f"l1_stem_bn/{name}"] + 0.75 * value for name, value in batch.items()}
    loaded(images, training=True, batch_norm_momentum=0.25)
    for name, value in expected.items():
        assert distance(variables[f"l1_stem_bn/{name}"], value.numpy()) < 1e-4


def test_fine_tuning_in_a_keras_layer(hub: Any, exported: "Exported", smallest: Weights) -> None:
    """`hub.KerasLayer` in a model trains every variable that the features depend on, and decays the kernels."""
    import tf_keras

    directory = str(exported("smallest", "savedmodel"))
    layer = hub.KerasLayer(directory, trainable=True, arguments={"batch_norm_momentum": 0.9})
    kernels = [value for name, value in smallest.variables.items() if name.endswith("weights") and "FC" not in name]
    assert float(layer.losses[0]) == pytest.approx(5e-4 * sum(np.square(kernel).sum() / 2 for kernel in kernels))
    model = tf_keras.Sequential([tf_keras.Input((16, 16, 3)), layer, tf_keras.layers.Dense(2)])
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    images = np.random.default_rng(0).random((8, 16, 16, 3), np.float32)
    model.fit(images, np.arange(8) % 2, batch_size=8, verbose=0)
    variables = by_name(layer.variables)
    same = {name for name, value in smallest.variables.items() if np.array_equal(variables[name], value)}
    assert same == {"final_layer/FC/weights", "final_layer/FC/biases"}
