"""Modules as their makers save them, built here of any variables: in the format of TF1 Hub, and as SavedModels.

TensorFlow is imported when one is written, so that a test file may import this one.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.walk import walk

_CLASSIFIER = "final_layer/FC/weights"

Signatures = dict[str, dict[str, str]]

FEATURES: Signatures = {"default": {"default": "global_pool"}, "image_feature_vector": {"default": "global_pool"}}
"""By signature and output, the end point that is computed."""


def write_tf1_module(
    directory: Path, spec: NetworkSpec, variables: Mapping[str, Any], signatures: Signatures = FEATURES
) -> Path:
    """Write a module like the published ones: one graph without tags to infer, one with the tag "train"."""
    import tensorflow as tf

    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(directory))
    for tags in ([], ["train"]):
        with v1.Graph().as_default(), v1.Session() as session:
            images = v1.placeholder(tf.float32, (None, spec.image_size, spec.image_size, 3))
            variable = _graph_variable(variables)
            made = _endpoints(spec, variable, images, classifier=_CLASSIFIER in variables, training=bool(tags))
            session.run(v1.global_variables_initializer())
            options = {"signature_def_map": {name: _signature(images, made, signatures[name]) for name in signatures}}
            if tags:
                builder.add_meta_graph(tags, **options)
            else:
                builder.add_meta_graph_and_variables(session, tags, **options)
    with contextlib.redirect_stdout(None):
        builder.save()
    # What marks TF1 Hub's format: a message that says it is of version 3.
    (directory / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return directory


def write_saved_model(
    directory: Path,
    spec: NetworkSpec,
    variables: Mapping[str, Any],
    signatures: Signatures = FEATURES,
    prefix: str = "",
) -> Path:
    """Write a SavedModel of TensorFlow 2, whose checkpoint knows variables by the objects that hold them."""
    import tensorflow as tf

    module = tf.Module()
    module.held = [tf.Variable(value, name=prefix + name) for name, value in variables.items()]
    by_name = dict(zip(variables, module.held, strict=True))

    def function(outputs: dict[str, str]) -> Any:
        def compute(images: Any) -> dict[str, Any]:
            made = _endpoints(spec, by_name.__getitem__, images, classifier=_CLASSIFIER in variables)
            return {output: made[endpoint] for output, endpoint in outputs.items()}

        images = tf.TensorSpec((None, spec.image_size, spec.image_size, 3), name="images")
        return tf.function(compute, autograph=False, input_signature=[images])

    tf.saved_model.save(module, str(directory), {name: function(outputs) for name, outputs in signatures.items()})
    return directory


def _graph_variable(variables: Mapping[str, Any]) -> Callable[[str], Any]:
    import tensorflow as tf

    # The published modules are older than resource variables.
    return lambda name: tf.compat.v1.get_variable(name, initializer=variables[name], use_resource=False)


def _signature(images: Any, endpoints: Mapping[str, Any], outputs: Mapping[str, str]) -> Any:
    from tensorflow.core.protobuf import meta_graph_pb2

    def info(tensor: Any) -> Any:
        return meta_graph_pb2.TensorInfo(
            name=tensor.name, dtype=tensor.dtype.as_datatype_enum, tensor_shape=tensor.shape.as_proto()
        )

    return meta_graph_pb2.SignatureDef(
        inputs={"images": info(images)},
        outputs={output: info(endpoints[endpoint]) for output, endpoint in outputs.items()},
    )


def _endpoints(
    spec: NetworkSpec, variable: Callable[[str], Any], images: Any, *, classifier: bool, training: bool = False
) -> dict[str, Any]:
    import tensorflow as tf

    from nasfeat_server.network.folded.tensor_operations import TensorOperations, odd_pixels

    class Operations(TensorOperations):
        """Plain operations over plain variables: nothing folded, no layers."""

        def scale(self, images: Any) -> Any:
            return 2 * images - 1

        def convolution(
            self, x: Any, scope: str, norm: str, *, filters: int, size: int = 1, stride: int = 1, padding: str = "same"
        ) -> Any:
            x = tf.nn.conv2d(x, variable(f"{scope}/weights"), stride, padding.upper())
            return self._normalise(x, norm)

        def separable(self, x: Any, scope: str, norm: str, *, filters: int, size: int, stride: int) -> Any:
            kernels = variable(f"{scope}/depthwise_weights"), variable(f"{scope}/pointwise_weights")
            return self._normalise(tf.nn.separable_conv2d(x, *kernels, (1, stride, stride, 1), "SAME"), norm)

        def factorized_reduction(self, x: Any, scope: str, *, filters: int) -> Any:
            kernels = [variable(f"{scope}/path{number}_conv/weights") for number in (1, 2)]
            pixels = x[:, ::2, ::2], odd_pixels(x)[:, ::2, ::2]
            paths = [tf.nn.conv2d(path, kernel, 1, "SAME") for path, kernel in zip(pixels, kernels, strict=True)]
            return self._normalise(tf.concat(paths, axis=-1), f"{scope}/final_path_bn")

        def dense(self, x: Any, scope: str, *, units: int) -> Any:
            return x @ variable(f"{scope}/weights") + variable(f"{scope}/biases")

        def _normalise(self, x: Any, norm: str) -> Any:
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            gamma, beta, mean, variance = (variable(f"{norm}/{name}") for name in names)
            if training:
                mean, variance = tf.nn.moments(x, (0, 1, 2))
            return tf.nn.batch_normalization(x, mean, variance, beta, gamma, spec.batch_norm_epsilon)

    return walk(spec, Operations(spec), images, classifier=classifier)
