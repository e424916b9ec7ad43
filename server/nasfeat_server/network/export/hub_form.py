"""TF1 Hub's format: a SavedModel with a graph for use and a graph for training over one set of variables.

It is what `google/imagenet/nasnet_large/feature_vector/1` was published in. The auxiliary head is left out, as there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from nasfeat_server.network.export.signatures import STATISTICS, decayed, signatures, weight_decay
from nasfeat_server.network.export.variable_operations import VariableOperations
from nasfeat_server.network.walk import walk
from nasfeat_server.network.weights import Weights

# ModuleDef with format = FORMAT_V3, by which TensorFlow Hub knows its own format.
_MODULE_DEF = b"\x08\x03"


def write(weights: Weights, directory: Path) -> None:
    """Write the module into the empty `directory`.

    The graph with the tag "train" normalises by the batch and drops paths, at the final probabilities. It brings what
    a consumer adds to a training step: the operations that move the statistics in the collection of updates, and each
    kernel's share of the weight decay in that of regularisation losses.
    """
    builder = tf.compat.v1.saved_model.Builder(str(directory))
    with tf.Graph().as_default():
        variables = _make_variables(weights)
        named = _build_graph(weights, variables, training=False)
        with tf.compat.v1.Session(config=tf.compat.v1.ConfigProto(device_count={"GPU": 0})) as session:
            values = {variables[name].initializer.inputs[1]: array for name, array in weights.variables.items()}
            session.run([variable.initializer for variable in variables.values()], values)
            builder.add_meta_graph_and_variables(session, [], signature_def_map=named, strip_default_attrs=True)
    with tf.Graph().as_default():
        named = _build_graph(weights, _make_variables(weights), training=True)
        builder.add_meta_graph(["train"], signature_def_map=named, strip_default_attrs=True)
    builder.save()
    (directory / "tfhub_module.pb").write_bytes(_MODULE_DEF)


def _make_variables(weights: Weights) -> dict[str, Any]:
    keys = tf.compat.v1.GraphKeys
    with tf.compat.v1.variable_scope("", use_resource=True):
        return {
            name: tf.compat.v1.get_variable(
                name,
                array.shape,
                initializer=tf.compat.v1.zeros_initializer(),
                trainable=not name.endswith(STATISTICS),
                collections=[keys.GLOBAL_VARIABLES, keys.MODEL_VARIABLES],
            )
            for name, array in weights.variables.items()
        }


def _build_graph(weights: Weights, variables: Mapping[str, Any], *, training: bool) -> dict[str, Any]:
    """Build the network into the default graph and return its signatures."""
    spec = weights.spec
    keys, add = tf.compat.v1.GraphKeys, tf.compat.v1.add_to_collection

    def update(moving: Any, batch: Any) -> None:
        step = (moving - batch) * (1 - spec.batch_norm_decay)
        add(keys.UPDATE_OPS, moving.assign_sub(step, read_value=False))

    with tf.name_scope("hub_input/"):
        images = tf.compat.v1.placeholder(tf.float32, (None, spec.image_size, spec.image_size, 3), "images")
    add("hub_module_attachments", _image_module_info(spec.image_size))
    operations = VariableOperations(spec, variables, update if training else None)
    endpoints = walk(spec, operations, images, classifier=weights.has_classifier)
    for name in decayed(variables) if training else ():
        with tf.name_scope(f"{name}/Regularizer/"):
            add(keys.REGULARIZATION_LOSSES, tf.nn.l2_loss(variables[name]) * weight_decay(spec))
    return {name: _signature_def({"images": images}, outputs) for name, outputs in signatures(endpoints).items()}


def _signature_def(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    """Describe tensors by name; TensorFlow's own function for it warns that it will be removed."""
    definition = tf.compat.v1.MetaGraphDef().signature_def[""]
    definition.method_name = tf.compat.v1.saved_model.signature_constants.PREDICT_METHOD_NAME
    for infos, tensors in ((definition.inputs, inputs), (definition.outputs, outputs)):
        for key, tensor in tensors.items():
            infos[key].name, infos[key].dtype = tensor.name, tensor.dtype.as_datatype_enum
            infos[key].tensor_shape.CopyFrom(tensor.shape.as_proto())
    return definition


def _image_module_info(size: int) -> bytes:
    """Encode a ModuleAttachment that holds an ImageModuleInfo; no package brings these protocol buffers any more."""
    input_size = b"\x08" + _varint(size) + b"\x10" + _varint(size)  # height = 1, width = 2
    return _message(1, b"image_module_info") + _message(2, _message(1, input_size))


def _message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])
