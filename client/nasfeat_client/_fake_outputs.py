"""What the fake server's network gives: every output follows from the image's bytes and the output's name."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from nasfeat.v1 import feature_pb2, image_pb2
from nasfeat_client.result import FEATURE_VECTOR, Array, Classification
from nasfeat_client.types import ModelInfo

LOGITS = "Logits"
PREDICTIONS = "Predictions"
_MEAN = "/mean"
_OUTPUTS_OF_SIGNATURES = {"image_feature_vector": FEATURE_VECTOR, "image_classification": LOGITS}


def resolved(outputs: Sequence[str], top_k: int) -> tuple[str, ...]:
    """Put outputs for the names of signatures, and the feature vector for nothing at all."""
    return tuple(_OUTPUTS_OF_SIGNATURES.get(name, name) for name in outputs) or (() if top_k else (FEATURE_VECTOR,))


def problem_of(outputs: Sequence[str], top_k: int, model: ModelInfo) -> str | None:
    """Say why `model` cannot give these resolved outputs and so many classes, if it cannot."""
    shapes = shapes_of(model)
    if (unknown := next((name for name in outputs if name not in shapes), None)) is not None:
        return f"there is no output {unknown!r}: these weights give {', '.join(shapes)}"
    if twice := next((name for index, name in enumerate(outputs) if name in outputs[:index]), None):
        return f"output {twice} is asked for twice"
    if top_k and PREDICTIONS not in shapes:
        return "these weights have no classifier: top_k must be 0"
    return None


def shapes_of(model: ModelInfo) -> dict[str, tuple[int, ...]]:
    """Give the shape of every output; one without a shape in `output_shapes` is as long as the feature vector."""
    shapes = {name: model.output_shapes.get(name, (model.feature_length,)) for name in model.outputs}
    return shapes | {FEATURE_VECTOR: (model.feature_length,)}


def output_of(image: image_pb2.Image, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Array:
    """Compute one output: float32 of its shape, random by nature but consistent with the others."""
    if name == PREDICTIONS and LOGITS in shapes:
        powers: Array = np.exp(output_of(image, LOGITS, shapes))
        probabilities: Array = powers / powers.sum()
        return probabilities
    spatial = name.removesuffix(_MEAN)
    if spatial != name and spatial in shapes:
        mean: Array = output_of(image, spatial, shapes).mean((0, 1))
        return mean
    salt = b"" if name == FEATURE_VECTOR else name.encode()
    digest = hashlib.sha256(image.SerializeToString(deterministic=True) + salt).digest()
    return np.random.default_rng(int.from_bytes(digest)).random(shapes[name], np.float32)


def classes_of(image: image_pb2.Image, top_k: int, model: ModelInfo) -> tuple[Classification, ...]:
    """Read the most probable classes from `Predictions`."""
    if not top_k:
        return ()
    probabilities = output_of(image, PREDICTIONS, shapes_of(model))
    return tuple(
        Classification(
            class_index=index,
            label=model.labels[index] if index < len(model.labels) else "",
            probability=float(probabilities[index]),
        )
        for index in np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    )


def write_features(
    message: feature_pb2.Features, image: image_pb2.Image, outputs: Sequence[str], top_k: int, model: ModelInfo
) -> None:
    """Answer one image."""
    shapes = shapes_of(model)
    for name in outputs:
        message.features.add(output=name, shape=shapes[name], values=output_of(image, name, shapes).tobytes())
    for found in classes_of(image, top_k, model):
        message.classes.add(class_index=found.class_index, label=found.label, probability=found.probability)
