"""What a request may ask for, and how the answer is packed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasfeat.v1 import feature_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.interface import ModelDescription, Outputs
from nasfeat_server.errors import InvalidRequestError
from nasfeat_server.network.outputs import FEATURE_VECTOR, PREDICTIONS, SIGNATURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What one call or stream gets for each image.

    Attributes:
        asked: the outputs to be answered with.
        computed: those to be computed: the ones asked for, and what the classes are read from.
        shapes: of `computed`, for one image.
        nbytes: what the outputs of one image take, float32.
        top_k: how many classes are named, if there are as many.
        labels: the names of all classes, or none.
    """

    asked: Outputs
    computed: Outputs
    shapes: tuple[tuple[int, ...], ...]
    nbytes: int
    top_k: int
    labels: tuple[str, ...]


def select(outputs: Sequence[str], top_k: int, description: ModelDescription, limits: RequestLimits) -> Selection:
    """Check what is asked for, and resolve the names of signatures.

    Raises:
        InvalidRequestError: an output is unknown or named twice, there are no classes, or all of it together is too
            large.
    """
    shapes = description.output_shapes
    asked = tuple(SIGNATURES.get(name, name) for name in outputs) or (() if top_k else (FEATURE_VECTOR,))
    if (unknown := next((name for name in asked if name not in shapes), None)) is not None:
        # Cut, since a status travels in headers of a few kilobytes.
        raise InvalidRequestError(f"there is no output {unknown[:40]!r}: these weights give {', '.join(shapes)}")
    if twice := next((name for index, name in enumerate(asked) if name in asked[:index]), None):
        raise InvalidRequestError(f"output {twice} is asked for twice")
    if top_k and PREDICTIONS not in shapes:
        raise InvalidRequestError("these weights have no classifier: top_k must be 0")
    computed = asked if not top_k or PREDICTIONS in asked else (*asked, PREDICTIONS)
    selection = Selection(
        asked=asked,
        computed=computed,
        shapes=tuple(shapes[name] for name in computed),
        nbytes=4 * sum(math.prod(shapes[name]) for name in computed),
        top_k=top_k,
        labels=description.labels,
    )
    if selection.nbytes > limits.max_result_bytes:
        size, limit = (count / 2**20 for count in (selection.nbytes, limits.max_result_bytes))
        raise InvalidRequestError(
            f"the outputs of one image are {size:.1f} MiB, the limit is {limit:g} MiB; ask for fewer"
        )
    return selection


def pack_features(message: feature_pb2.Features, selection: Selection, results: bytes) -> None:
    """Fill `message` with what was computed for one image: `results` holds the outputs one behind the other."""
    start = 0
    for name, shape in zip(selection.computed, selection.shapes, strict=True):
        values = results[start : start + 4 * math.prod(shape)]
        start += len(values)
        if name in selection.asked:
            message.features.add(output=name, shape=shape, values=values)
        if name == PREDICTIONS and selection.top_k:
            _add_classes(message, selection, values)


def _add_classes(message: feature_pb2.Features, selection: Selection, values: bytes) -> None:
    probabilities = np.frombuffer(values, np.float32)
    # Stable, so that equal probabilities are named in the order of the classes.
    for index in np.argsort(-probabilities, kind="stable")[: selection.top_k].tolist():
        message.classes.add(
            class_index=index,
            label=selection.labels[index] if selection.labels else "",
            probability=probabilities[index],
        )
