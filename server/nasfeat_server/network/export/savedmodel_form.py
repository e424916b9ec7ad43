"""TF2's SavedModel, to the convention that `hub.KerasLayer` fine-tunes by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from nasfeat_server.network.export.signatures import STATISTICS, decayed, signatures, weight_decay
from nasfeat_server.network.export.variable_operations import VariableOperations
from nasfeat_server.network.layers import classifier_variables
from nasfeat_server.network.outputs import FEATURE_VECTOR
from nasfeat_server.network.walk import walk
from nasfeat_server.network.weights import Weights


def write(weights: Weights, directory: Path) -> None:
    """Write the module into the empty `directory`.

    The loaded object is called as `module(images, training=False, batch_norm_momentum=...)` and gives the feature
    vectors; the momentum is that of the moving statistics, which only training moves.
    """
    with tf.device("CPU:0"):
        variables = {
            name: tf.Variable(array, name=name, trainable=not name.endswith(STATISTICS))
            for name, array in weights.variables.items()
        }
    module, infer = _module(weights, variables)
    images = _images(weights)
    named = {
        name: tf.function(lambda images, name=name: signatures(infer(images))[name], autograph=False)
        for name in signatures(infer.structured_outputs)
    }
    traced = {name: function.get_concrete_function(images) for name, function in named.items()}
    traced["serving_default"] = traced["default"]
    tf.saved_model.save(module, str(directory), signatures=traced)


def _images(weights: Weights) -> tf.TensorSpec:
    size = weights.spec.image_size
    return tf.TensorSpec((None, size, size, 3), tf.float32, name="images")


def _module(weights: Weights, variables: Mapping[str, Any]) -> tuple[Any, Any]:
    """Make the object to save, and the function from images to end points."""
    spec, images = weights.spec, _images(weights)
    momentum = tf.TensorSpec((), tf.float32, name="batch_norm_momentum")

    def infer(images: Any) -> dict[str, Any]:
        return walk(spec, VariableOperations(spec, variables), images, classifier=weights.has_classifier)

    def train(images: Any, momentum: Any) -> Any:
        def update(moving: Any, batch: Any) -> None:
            moving.assign_sub((moving - batch) * (1 - momentum))

        operations = VariableOperations(spec, variables, update)
        return walk(spec, operations, images, classifier=False)[FEATURE_VECTOR]

    # Traced once each; what else is saved calls these, so that the network is not written once more for each.
    infer_once = tf.function(infer, autograph=False).get_concrete_function(images)
    train_once = tf.function(train, autograph=False).get_concrete_function(images, momentum)

    # Positional or by name, as TensorFlow Hub's convention has it.
    def call(images: Any, training: bool = False, batch_norm_momentum: Any = spec.batch_norm_decay) -> Any:  # noqa: FBT002
        return train_once(images, batch_norm_momentum) if training else infer_once(images)[FEATURE_VECTOR]

    module = tf.train.Checkpoint()
    module.__call__ = tf.function(call, autograph=False)
    for training in (False, True):
        module.__call__.get_concrete_function(images, training, momentum)
    _describe(module, weights, variables)
    return module, infer_once


def _describe(module: Any, weights: Weights, variables: Mapping[str, Any]) -> None:
    """Add what `hub.KerasLayer` asks for. The classifier's variables have no part in what the module returns."""
    fixed = classifier_variables(weights.spec)
    trained = {name: variable for name, variable in variables.items() if variable.trainable and name not in fixed}

    def decay() -> Any:
        losses = [tf.nn.l2_loss(trained[name]) for name in decayed(trained)]
        return tf.add_n(losses) * weight_decay(weights.spec)

    module.variables = list(variables.values())
    module.trainable_variables = list(trained.values())
    module.regularization_losses = [tf.function(decay, input_signature=[], autograph=False)]
