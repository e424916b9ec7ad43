"""The folded network as an ONNX graph, which other runtimes read."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from nasfeat_server.network.folded.onnx_operations import OnnxOperations, Value
from nasfeat_server.network.outputs import LOGITS, MEAN, PREDICTIONS
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import walk

# Of 2022: every operation here is as old, and runtimes read all opsets up to their own.
_OPSET, _IR_VERSION = 17, 8


def onnx_graph(
    spec: NetworkSpec, parameters: Mapping[str, npt.NDArray[np.float32]], outputs: Sequence[str], *, of_pixels: bool
) -> onnx.ModelProto:
    """Make the network a graph from `images` [N, size, size, 3] to `outputs`, N being free.

    Inside, channels stand before rows; maps are given out as [N, H, W, C] all the same.

    Args:
        spec: which network.
        parameters: what `fold` returns.
        outputs: names of `outputs.output_shapes`.
        of_pixels: take uint8 of 0..255, in place of float32 of 0..1.
    """
    operations = OnnxOperations(spec, parameters, of_pixels=of_pixels)
    images = Value("images", (None, spec.image_size, spec.image_size, 3))
    endpoints = walk(spec, operations, images, classifier=not {LOGITS, PREDICTIONS}.isdisjoint(outputs))
    values = {name: _output(operations, endpoints, name) for name in outputs}
    nodes = _needed(operations.nodes, {value.name for value in values.values()})
    _rename(nodes, {value.name: name for name, value in values.items()})
    read = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        spec.name,
        [_info("images", images.shape, onnx.TensorProto.UINT8 if of_pixels else onnx.TensorProto.FLOAT)],
        [_info(name, value.shape, onnx.TensorProto.FLOAT) for name, value in values.items()],
        [tensor for name, tensor in operations.initializers.items() if name in read],
    )
    return onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nasfeat",
    )


def _output(operations: OnnxOperations, endpoints: Mapping[str, Value], name: str) -> Value:
    if name.endswith(MEAN):
        return operations.global_pool(endpoints[name.removesuffix(MEAN)])
    value = endpoints[name]
    return operations.channels_last(value) if len(value.shape) == 4 else value


def _needed(nodes: Sequence[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """Leave out what no output needs, in the order of computation."""
    needed, kept = set(outputs), list[onnx.NodeProto]()
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def _rename(nodes: Sequence[onnx.NodeProto], names: Mapping[str, str]) -> None:
    for node in nodes:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]


def _info(name: str, shape: tuple[int | None, ...], kind: int) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, kind, ("N", *shape[1:]))
