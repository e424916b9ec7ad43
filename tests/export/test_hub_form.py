"""The module in TF1 Hub's format is like the published one."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nasfeat_server.network.layers import expected_variables
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights import Weights

if TYPE_CHECKING:
    from tests.export.conftest import Distance, Exported, Recorded

ORACLE = Path(__file__).parents[1] / "data" / "oracle"
UPDATED = "after_update/"
HUB_PROTO = """
    name: "hub.proto" package: "hub" syntax: "proto3"
    message_type {
      name: "ModuleAttachment"
      field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
      field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_BYTES }
    }
    message_type {
      name: "InputSize"
      field { name: "height" number: 1 label: LABEL_OPTIONAL type: TYPE_INT32 }
      field { name: "width" number: 2 label: LABEL_OPTIONAL type: TYPE_INT32 }
    }
    message_type {
      name: "ImageModuleInfo"
      field {
        name: "default_image_size" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".hub.InputSize"
      }
    }
"""


def read_meta_graphs(directory: Any) -> dict[tuple[str, ...], Any]:
    """Parse the file of a SavedModel: its graphs by their tags."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    return {tuple(graph.meta_info_def.tags): graph for graph in saved.meta_graphs}


@pytest.mark.parametrize("tags", [(), ("train",)])
def test_signatures(tags: tuple[str, ...], exported: "Exported") -> None:
    """Both graphs take `images` of the expected size, and have the signatures that are common to image modules."""
    signatures = read_meta_graphs(exported("tiny_cifar", "hub"))[tags].signature_def
    assert set(signatures) == {"default", "image_feature_vector", "image_classification"}
    for signature in signatures.values():
        assert list(signature.inputs) == ["images"]
        assert [dim.size for dim in signature.inputs["images"].tensor_shape.dim] == [-1, 32, 32, 3]
    lengths = {name: signature.outputs["default"].tensor_shape.dim[1].size for name, signature in signatures.items()}
    assert lengths == {"default": 96, "image_feature_vector": 96, "image_classification": 10}
    assert signatures["image_classification"].outputs["logits"] == signatures["image_classification"].outputs["default"]
    assert {"Stem", "Cell_0", "Reduction_Cell_1"} <= set(signatures["image_feature_vector"].outputs)


def test_files(exported: "Exported", recorded: Callable[[str], "Recorded"]) -> None:
    """The marker of the format is there, and the variables have TF-Slim's names without a prefix."""
    import tensorflow as tf

    directory = exported("tiny_cifar", "hub")
    assert (directory / "tfhub_module.pb").read_bytes() == b"\x08\x03"
    reader = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    assert shapes == expected_variables(recorded("tiny_cifar").weights.spec)


def test_collections(exported: "Exported", recorded: Callable[[str], "Recorded"]) -> None:
    """For training there are the variables to train, two updates a batch normalisation, and a loss for each kernel."""
    graphs = read_meta_graphs(exported("tiny_cifar", "hub"))
    counts = {}
    for tags, graph in graphs.items():
        kinds = {name: collection.WhichOneof("kind") for name, collection in graph.collection_def.items()}
        counts[tags] = {name: len(getattr(graph.collection_def[name], kind).value) for name, kind in kinds.items()}
    names = recorded("tiny_cifar").weights.variables
    norms = sum(name.endswith("/gamma") for name in names)
    assert counts[()] == {
        "variables": len(names),
        "model_variables": len(names),
        "trainable_variables": len(names) - 2 * norms,
        "hub_module_attachments": 1,
    }
    kernels = sum(name.endswith("weights") for name in names)
    assert counts["train",] == counts[()] | {"update_ops": 2 * norms, "regularization_losses": kernels}


def test_image_module_info(exported: "Exported") -> None:
    """The expected image size is attached as the messages say that TensorFlow Hub defined for it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(HUB_PROTO, descriptor_pb2.FileDescriptorProto()))
    attachment_type, info_type = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"hub.{name}"))
        for name in ("ModuleAttachment", "ImageModuleInfo")
    )
    for graph in read_meta_graphs(exported("smallest", "hub")).values():
        (value,) = graph.collection_def["hub_module_attachments"].bytes_list.value
        attachment: Any = attachment_type.FromString(value)
        info: Any = info_type.FromString(attachment.value)
        assert attachment.key == "image_module_info"
        assert (info.default_image_size.height, info.default_image_size.width) == (16, 16)


def test_tensorflow_hub_loads_it(
    hub: Any, exported: "Exported", recorded: Callable[[str], "Recorded"], distance: "Distance"
) -> None:
    """`hub.KerasLayer`, and so `hub.load`, has the signatures; their end points are the original's, to 1e-4."""
    expected = recorded("tiny_cifar")
    directory = str(exported("tiny_cifar", "hub"))
    layer = hub.KerasLayer(directory, signature="image_classification", signature_outputs_as_dict=True)
    outputs = layer(expected.images)
    assert set(outputs) > {"default", "logits", "global_pool", "Logits", "Predictions", "Stem", "Cell_2"}
    for name, value in outputs.items():
        assert distance(value, expected.inference[{"default": "Logits", "logits": "Logits"}.get(name, name)]) < 1e-4


def test_training_is_the_originals(
    hub: Any, exported: "Exported", recorded: Callable[[str], "Recorded"], distance: "Distance"
) -> None:
    """The graph for training normalises by the batch; its update operations move the statistics as the original's."""
    import tensorflow as tf

    expected = recorded("tiny_cifar")
    module = hub.load(str(exported("tiny_cifar", "hub")), tags={"train"})
    features = module.signatures["default"].structured_outputs["default"].name
    step = module.prune("hub_input/images:0", [features, *module.graph.get_collection("update_ops")])
    assert distance(step(tf.constant(expected.images))[0], expected.training["global_pool"]) < 1e-4
    variables = {variable.name.removesuffix(":0"): variable for variable in module.variables}
    updated = {name: value for name, value in expected.training.items() if name.startswith(UPDATED)}
    assert updated
    for name, value in updated.items():
        assert distance(variables[name.removeprefix(UPDATED)], value) < 1e-6, name


def test_paths_are_dropped_at_the_final_probability(exported: "Exported", smallest: Weights) -> None:
    """Only the graph for training drops paths: each branch by a draw of its own, as often as its cell's last ones."""
    graphs = read_meta_graphs(exported("smallest", "hub"))
    assert not [node for node in graphs[()].graph_def.node if node.op == "RandomUniform"]
    nodes = {node.name: node for node in graphs["train",].graph_def.node}
    found: Counter[tuple[str, float]] = Counter()
    for name in [name for name, node in nodes.items() if node.op == "RandomUniform"]:
        keep = nodes[nodes[f"{name.partition('/random_uniform')[0]}/add"].input[1]]
        found[name.partition("/")[0], round(keep.attr["value"].tensor.float_val[0], 6)] += 1
    spec = smallest.spec
    branches = {cell: 9 if "reduction" in cell or "stem" in cell else 8 for cell in spec.cells}
    assert found == {(cell, round(spec.keep_probability(cell), 6)): count for cell, count in branches.items()}


def test_paths_dropped_in_the_published_module() -> None:
    """The probabilities are those recorded from the published module of the large network, in all of its 22 cells."""
    rows = (ORACLE / "nasnet_large" / "train_tag_keep_probs.txt").read_text()
    recorded = {cell: float(keep) for cell, keep in re.findall(r"(\w+) +n=\d+ keep=\[([\d.]+)\]", rows)}
    spec = VARIANTS["large"]
    assert recorded == pytest.approx({cell: spec.keep_probability(cell) for cell in spec.cells})


def test_two_calls_drop_other_paths(hub: Any, exported: "Exported") -> None:
    """Called twice on the same images, the graph for training gives other features."""
    import tensorflow as tf

    images = tf.constant(np.random.default_rng(0).random((8, 16, 16, 3), np.float32))
    features = hub.load(str(exported("smallest", "hub")), tags={"train"}).signatures["default"]
    assert not np.array_equal(features(images)["default"], features(images)["default"])
