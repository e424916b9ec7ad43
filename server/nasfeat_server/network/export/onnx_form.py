"""ONNX: the folded network in one file."""

import json
from pathlib import Path

import onnx

from nasfeat_server.network.folded.fold import fold
from nasfeat_server.network.folded.onnx_graph import onnx_graph
from nasfeat_server.network.outputs import FEATURE_VECTOR, LOGITS, PREDICTIONS
from nasfeat_server.network.weights import Weights


def write(weights: Weights, directory: Path) -> None:
    """Write `model.onnx` into `directory`."""
    onnx.save(onnx_model(weights), directory / "model.onnx")


def onnx_model(weights: Weights) -> onnx.ModelProto:
    """Make the network a graph from `images`, float32 [N, size, size, 3] of 0..1, N being free.

    Its outputs are `global_pool` [N, F] and, with a classifier, `Logits` and `Predictions` [N, classes]. Inside,
    channels stand before rows. The model's properties tell the name, the weights' digest, the labels, the wiring, and
    whether the weights are trained.
    """
    outputs = (FEATURE_VECTOR, LOGITS, PREDICTIONS) if weights.has_classifier else (FEATURE_VECTOR,)
    model = onnx_graph(weights.spec, fold(weights.spec, dict(weights.variables)), outputs, of_pixels=False)
    onnx.helper.set_model_props(model, properties(weights))
    return model


def properties(weights: Weights) -> dict[str, str]:
    """Say what a model is of, by name; labels as a JSON list."""
    return {
        "name": weights.spec.name,
        "weights_digest": weights.digest,
        "wiring": weights.spec.wiring,
        "trained": json.dumps(weights.trained),
        "labels": json.dumps(weights.labels, ensure_ascii=False),
    }
