"""The ONNX model is a good one, and says what it is."""

import dataclasses
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nasfeat_server.network.weights import Weights

if TYPE_CHECKING:
    from tests.export.conftest import Exported


def test_the_checker_passes(tiny: str, exported: "Exported") -> None:
    """ONNX's own checker, with its inference of shapes, has no complaints."""
    import onnx

    onnx.checker.check_model(exported(tiny, "onnx") / "model.onnx", full_check=True)


@pytest.mark.parametrize("wiring", ["slim", "keras"])
def test_the_graph_has_nothing_twice(wiring: Any, smallest: Weights) -> None:
    """Initializers have names of their own and are read, and no two nodes compute the same."""
    from nasfeat_server.network.export.onnx_form import onnx_model

    spec = dataclasses.replace(smallest.spec, wiring=wiring)
    graph = onnx_model(dataclasses.replace(smallest, spec=spec)).graph
    names = Counter(initializer.name for initializer in graph.initializer)
    assert set(names.values()) == {1}
    assert set(names) < {name for node in graph.node for name in node.input}
    computed = [(node.op_type, tuple(node.input), str(node.attribute)) for node in graph.node]
    assert len(set(computed)) == len(computed)


def test_inputs_and_outputs(smallest: Weights) -> None:
    """The images have the size of the network and any number; each output has a row for each of them."""
    import onnxruntime

    from nasfeat_server.network.export.onnx_form import onnx_model

    session = onnxruntime.InferenceSession(onnx_model(smallest).SerializeToString())
    assert [(value.name, value.type, value.shape) for value in session.get_inputs()] == [
        ("images", "tensor(float)", ["N", 16, 16, 3])
    ]
    for count in (1, 3):
        outputs = session.run(None, {"images": np.zeros((count, 16, 16, 3), np.float32)})
        assert [output.shape for output in outputs] == [(count, smallest.spec.feature_length), (count, 5), (count, 5)]


def test_weights_without_a_classifier(smallest: Weights) -> None:
    """The feature vector is the only output then."""
    from nasfeat_server.network.export.onnx_form import onnx_model

    variables = {name: value for name, value in smallest.variables.items() if "final_layer" not in name}
    model = onnx_model(dataclasses.replace(smallest, variables=variables))
    assert [output.name for output in model.graph.output] == ["global_pool"]


def test_properties(smallest: Weights) -> None:
    """The model says which network and weights it is of, and what its classes are called."""
    from nasfeat_server.network.export.onnx_form import onnx_model

    labels = ("a", "b", "ç", "d", "e")
    model = onnx_model(dataclasses.replace(smallest, labels=labels))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert tuple(json.loads(properties.pop("labels"))) == labels
    assert properties == {
        "name": "smallest",
        "weights_digest": smallest.digest,
        "wiring": "slim",
        "trained": "false",
    }


def test_openvino_keeps_float32_and_properties(exported: "Exported", smallest: Weights) -> None:
    """OpenVINO's form is not rounded to float16, and says the same."""
    import openvino

    model = openvino.Core().read_model(exported("smallest", "openvino") / "model.xml")
    constants = {str(op.get_element_type()) for op in model.get_ops() if op.get_type_name() == "Constant"}
    assert "f16" not in " ".join(constants)
    assert model.get_rt_info(["nasfeat", "weights_digest"]).astype(str) == smallest.digest
