"""The operations that both of TensorFlow's forms are of compute what the original computes."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.export.conftest import Distance, Recorded

UPDATED = "after_update/"


def test_every_endpoint_is_the_originals(
    tiny: str, recorded: Callable[[str], "Recorded"], distance: "Distance"
) -> None:
    """With moving statistics, every end point is the original's, to 1e-4."""
    from nasfeat_server.network.export.variable_operations import VariableOperations
    from nasfeat_server.network.walk import walk

    expected, weights = recorded(tiny), recorded(tiny).weights
    endpoints = walk(weights.spec, VariableOperations(weights.spec, weights.variables), expected.images)
    for name, value in endpoints.items():
        assert distance(value, expected.inference[name]) < 1e-4, name


def test_training_is_the_originals(tiny: str, recorded: Callable[[str], "Recorded"], distance: "Distance") -> None:
    """With the batch's statistics, the features are the original's, and so are the moving statistics one step on."""
    import tensorflow as tf

    from nasfeat_server.network.export.variable_operations import VariableOperations
    from nasfeat_server.network.walk import walk

    expected, weights = recorded(tiny), recorded(tiny).weights
    variables = {name: tf.Variable(value, name=name) for name, value in weights.variables.items()}

    def update(moving: Any, batch: Any) -> None:
        moving.assign_sub((moving - batch) * (1 - weights.spec.batch_norm_decay))

    endpoints = walk(weights.spec, VariableOperations(weights.spec, variables, update), expected.images)
    assert distance(endpoints["global_pool"], expected.training["global_pool"]) < 1e-4
    updated = {name: value for name, value in expected.training.items() if name.startswith(UPDATED)}
    assert updated
    for name, value in updated.items():
        assert distance(variables[name.removeprefix(UPDATED)], value) < 1e-6, name


def test_keras_wiring(recorded: Callable[[str], "Recorded"], distance: "Distance") -> None:
    """In Keras' wiring the features are those of the folded network so wired, and not the original's."""
    import tensorflow as tf

    from nasfeat_server.network.export.variable_operations import VariableOperations
    from nasfeat_server.network.folded.fold import fold
    from nasfeat_server.network.folded.tensor_operations import FoldedOperations
    from nasfeat_server.network.walk import walk

    expected = recorded("tiny_mobile")
    variables = expected.weights.variables
    spec = dataclasses.replace(expected.weights.spec, wiring="keras")
    folded = FoldedOperations(spec, fold(spec, dict(variables)))
    features = walk(spec, folded, tf.constant(expected.images * 255))["global_pool"]
    found = walk(spec, VariableOperations(spec, variables), expected.images)["global_pool"]
    assert distance(found, features.numpy()) < 1e-4
    assert distance(found, expected.inference["global_pool"]) > 1e-2
