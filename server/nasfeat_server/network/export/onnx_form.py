"""ONNX: the folded network in one file."""

import json
from pathlib import Path

import onnx

from nasfeat_server.network.export.onnx_operations import OnnxOperations, Value
from nasfeat_server.network.folding import fold
from nasfeat_server.network.outputs import FEATURE_VECTOR, LOGITS, PREDICTIONS
from nasfeat_server.network.walk import walk
from nasfeat_server.network.weights import Weights

# Of 2022: every operation here is as old, and runtimes read all opsets up to their own.
_OPSET, _IR_VERSION = 17, 8


def write(weights: Weights, directory: Path) -> None:
    """Write `model.onnx` into `directory`."""
    onnx.save(onnx_model(weights), directory / "model.onnx")


def onnx_model(weights: Weights) -> onnx.ModelProto:
    """Make the network a graph from `images`, float32 [N, size, size, 3] of 0..1, N being free.

    Its outputs are `global_pool` [N, F] and, with a classifier, `Logits` and `Predictions` [N, classes]. Inside,
    channels stand before rows. The model's properties tell the name, the weights' digest, the labels, the wiring, and
    whether the weights are trained.
    """
    spec = weights.spec
    operations = OnnxOperations(spec, fold(spec, dict(weights.variables)))
    images = Value("images", (None, spec.image_size, spec.image_size, 3))
    endpoints = walk(spec, operations, images, classifier=weights.has_classifier)
    outputs = {name: endpoints[name] for name in (FEATURE_VECTOR, LOGITS, PREDICTIONS) if name in endpoints}
    _rename(operations.nodes, {value.name: name for name, value in outputs.items()})
    graph = onnx.helper.make_graph(
        operations.nodes,
        spec.name,
        [_info("images", images)],
        [_info(name, value) for name, value in outputs.items()],
        list(operations.initializers.values()),
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nasfeat",
    )
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


def _rename(nodes: list[onnx.NodeProto], names: dict[str, str]) -> None:
    for node in nodes:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]


def _info(name: str, value: Value) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ("N", *value.shape[1:]))
