"""The network as it is trained: with its heads, its frozen part and its optimizer."""

import dataclasses
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.batch_norm import BatchNormalization
from nasfeat_server.network.layers import classifier_variables, expected_variables
from nasfeat_server.network.model import build_model, variables_of
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.training.options import Recipe
from nasfeat_server.network.weights import Weights

LOGITS = "logits"
AUXILIARY = "auxiliary"
STEM = "stem"

_AUXILIARY_WEIGHT = 0.4
_MOMENTUM = 0.9
_CLASSIFIER = "final_layer.FC"


def heads(recipe: Recipe) -> tuple[str, ...]:
    """Name the outputs that are trained."""
    return (LOGITS, AUXILIARY) if recipe.auxiliary else (LOGITS,)


def keeps_classifier(weights: Weights, labels: tuple[str, ...]) -> bool:
    """Say whether the classifier of `weights` is for these very classes, and can be trained on."""
    return weights.has_classifier and weights.labels == labels


def trainable_model(weights: Weights, labels: tuple[str, ...], recipe: Recipe, *, decay: float) -> keras.Model:
    """Build a compiled model from images float32 [N, size, size, 3] of 0..1 to the logits [N, classes] of each head.

    Batch normalisations use the batch's statistics and update the moving ones; paths are dropped at the probabilities
    that the end of the original's training has, whatever the step.

    Args:
        weights: to start from; the classifier is new unless `keeps_classifier`, the auxiliary head always.
        labels: the classes.
        recipe: how to train.
        decay: of the moving statistics.
    """
    keep = recipe.drop_path_keep_prob or weights.spec.drop_path_keep_prob
    spec = dataclasses.replace(weights.spec, num_classes=len(labels), drop_path_keep_prob=keep)
    model = _with_heads(spec, recipe)
    kept = set(expected_variables(spec))
    if not keeps_classifier(weights, labels):
        kept -= classifier_variables(spec)
    for name, variable in variables_of(model).items():
        if name in kept:
            variable.assign(weights.variables[name])
    if recipe.freeze_up_to:
        _freeze(model, spec, frozen_cells(spec, recipe.freeze_up_to))
    _set_decay(model, decay)
    _compile(model, recipe)
    return model


def check_recipe(spec: NetworkSpec, recipe: Recipe) -> None:
    """Find out whether `recipe` fits the network.

    Raises:
        ConfigurationError: it names no cell of the network, or freezes what the auxiliary head would train.
    """
    if f"cell_{spec.auxiliary_cell}" in frozen_cells(spec, recipe.freeze_up_to) and recipe.auxiliary:
        raise ConfigurationError(
            f"the auxiliary head reads cell_{spec.auxiliary_cell}, which is frozen: leave out one of the two"
        )


def frozen_cells(spec: NetworkSpec, up_to: str | None) -> tuple[str, ...]:
    """List the cells that stay as they are: those before the first normal one for "stem", else all up to `up_to`.

    Raises:
        ConfigurationError: there is no such cell; the message lists those that there are.
    """
    if up_to is None:
        return ()
    if up_to == STEM:
        return tuple(cell for cell in spec.cells if cell.startswith("cell_stem_"))
    if up_to not in spec.cells:
        raise ConfigurationError(f"{spec.name} has no cell {up_to!r}; it has {STEM}, {', '.join(spec.cells)}")
    return spec.cells[: spec.cells.index(up_to) + 1]


def inference_variables(model: keras.Model) -> dict[str, npt.NDArray[np.float32]]:
    """Read what inference needs of a trained model, by TF-Slim's names, sorted."""
    variables = variables_of(model)
    names = sorted(name for name in variables if not name.startswith("aux_"))
    return {name: variables[name].numpy() for name in names}


def _with_heads(spec: NetworkSpec, recipe: Recipe) -> keras.Model:
    # The classifier's dropout is no part of the network, whose features are what comes before it.
    network = build_model(spec, classifier=recipe.auxiliary, training=True)
    classifier = (
        network.get_layer(_CLASSIFIER) if recipe.auxiliary else keras.layers.Dense(spec.num_classes, name=_CLASSIFIER)
    )
    logits = classifier(keras.layers.Dropout(recipe.dropout)(network.output["global_pool"]))
    outputs = {LOGITS: logits, AUXILIARY: network.output.get("AuxLogits")}
    return keras.Model(network.input, {name: outputs[name] for name in heads(recipe)})


def _freeze(model: keras.Model, spec: NetworkSpec, cells: tuple[str, ...]) -> None:
    """Leave kernels, scales and moving statistics as they are in `cells` and in the convolution before them."""
    later = {*spec.cells, "final_layer", f"aux_{spec.auxiliary_cell}"} - set(cells)
    for layer in model.layers:
        if layer.weights and layer.name.split(".")[0] not in later:
            layer.trainable = False


def _set_decay(model: keras.Model, decay: float) -> None:
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.momentum = decay


def _compile(model: keras.Model, recipe: Recipe) -> None:
    # The rate is a plain number that a callback sets: Keras would build the schedule anew for each variable.
    optimizer = keras.optimizers.SGD(
        0.0,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=recipe.weight_decay or None,
        global_clipnorm=recipe.clip_norm,
    )
    optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if _is_vector(v)])
    optimizer.build(model.trainable_variables)
    loss = {name: _loss(recipe) for name in heads(recipe)}
    model.compile(
        optimizer,
        loss=loss,
        loss_weights={LOGITS: 1.0, AUXILIARY: _AUXILIARY_WEIGHT} if recipe.auxiliary else None,
        metrics={LOGITS: [keras.metrics.CategoricalAccuracy(name="accuracy")]},
        jit_compile=False,
    )
    _build_metrics(model)


def _is_vector(variable: keras.Variable) -> bool:
    return len(variable.shape) == 1


def _loss(recipe: Recipe) -> Any:
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)


def _build_metrics(model: keras.Model) -> None:
    """Make the variables of losses and metrics, which Keras makes late, and then traces the training step twice."""
    made = {name: keras.ops.zeros((1, model.output[name].shape[-1])) for name in model.output}
    model.compute_loss(y=made, y_pred=made)
    model.compute_metrics(None, made, made)
    model.reset_metrics()
