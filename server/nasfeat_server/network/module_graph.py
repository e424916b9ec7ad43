"""A module's own graph, run as its makers saved it, to hold our network to it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.outputs import FEATURE_VECTOR, LOGITS, PREDICTIONS
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights.hub import library
from nasfeat_server.network.weights.values import Located

# The signature and its output that each of ours may come from, the better first.
# https://www.tensorflow.org/hub/common_signatures/images
_CANDIDATES = {
    FEATURE_VECTOR: (("image_feature_vector", "default"), ("default", "default")),
    LOGITS: (("image_classification", "logits"), ("image_classification", "default")),
}
_Chosen = Mapping[str, tuple[str, str]]


class ModuleGraph:
    """The signatures of a module that compute our outputs.

    Attributes:
        output_shapes: each output with its shape for one image: `global_pool` [F], and `Logits` and `Predictions`
            [classes] if the module classifies.
    """

    def __init__(self, module: Any, chosen: _Chosen, output_shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Keep `module`, which owns the variables, and the signature and its output that each of ours comes from."""
        self._module = module
        self._chosen = chosen
        self.output_shapes = output_shapes

    def run(self, images: tf.Tensor, outputs: Iterable[str]) -> dict[str, tf.Tensor]:
        """Compute `outputs`, float32, of uint8 RGB images [N, H, W, 3]: each signature is a run of its own."""
        return _outputs(self._module.signatures, self._chosen, images, outputs)


def open_module_graph(located: Located) -> ModuleGraph:
    """Load the module at `located`, in TF1 Hub format or a SavedModel with TF-Hub's common image signatures.

    Of a module in TF1 Hub format, the graph without tags is taken, which is the one for inference.

    Raises:
        WeightsError: there is no graph, it cannot be loaded, or it does not compute feature vectors of such images.
    """
    directory = Path(located.location)
    if not any((directory / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise WeightsError(
            f"{located.source} has no graph of its own to run; modules have one: a directory with a saved_model.pb"
        )
    try:
        module = library().load(str(directory))
    except Exception as error:  # whatever the graph's format makes TensorFlow raise
        raise WeightsError(f"cannot load the module {directory}: {error}") from error
    chosen = _choose(module.signatures, located.source)
    names = (*chosen, PREDICTIONS) if LOGITS in chosen else chosen
    outputs = _outputs(module.signatures, chosen, _black_image(module.signatures, chosen, located.spec), names)
    return ModuleGraph(module, chosen, {name: tuple(value.shape[1:]) for name, value in outputs.items()})


def _choose(signatures: Mapping[str, Any], source: str) -> _Chosen:
    chosen = {
        name: next((wanted for wanted in candidates if _has(signatures, *wanted)), None)
        for name, candidates in _CANDIDATES.items()
    }
    if not chosen[FEATURE_VECTOR]:
        has = ", ".join(f"{name} ({', '.join(made.structured_outputs)})" for name, made in signatures.items()) or "none"
        raise WeightsError(
            f"{source} computes no feature vectors: that takes a signature image_feature_vector from images "
            f"to default, and its signatures and their outputs are: {has}"
        )
    return {name: found for name, found in chosen.items() if found}


def _has(signatures: Mapping[str, Any], name: str, output: str) -> bool:
    if name not in signatures:
        return False
    inputs = signatures[name].structured_input_signature[1]
    return list(inputs) == ["images"] and output in signatures[name].structured_outputs


def _black_image(signatures: Mapping[str, Any], chosen: _Chosen, spec: NetworkSpec) -> tf.Tensor:
    image = tf.zeros((1, spec.image_size, spec.image_size, 3), tf.uint8)
    for name, _ in chosen.values():
        wanted = signatures[name].structured_input_signature[1]["images"].shape
        if not wanted.is_compatible_with(image.shape):
            raise WeightsError(f"the module's {name} takes images {wanted}, and those of {spec.name} are {image.shape}")
    return image


def _outputs(
    signatures: Mapping[str, Any], chosen: _Chosen, images: tf.Tensor, names: Iterable[str]
) -> dict[str, tf.Tensor]:
    scaled = tf.cast(images, tf.float32) / 255
    wanted = set(names)
    read = [name for name in chosen if name in wanted or (name == LOGITS and PREDICTIONS in wanted)]
    outputs = {name: signatures[chosen[name][0]](images=scaled)[chosen[name][1]] for name in read}
    if PREDICTIONS in wanted:
        outputs[PREDICTIONS] = tf.nn.softmax(outputs[LOGITS])
    return outputs
