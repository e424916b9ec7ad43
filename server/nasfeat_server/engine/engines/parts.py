"""What engines have in common: how a model is described, and how folded parameters are kept on disk."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from nasfeat_server.engine.interface import EngineOptions, ModelDescription, description_of
from nasfeat_server.errors import WeightsError
from nasfeat_server.network.folded.fold import fold
from nasfeat_server.network.outputs import FEATURE_VECTOR, LOGITS, PREDICTIONS, output_shapes
from nasfeat_server.network.weights.values import Weights

VECTORS = frozenset({FEATURE_VECTOR, LOGITS, PREDICTIONS})
"""The outputs that every graph gives; a graph that gives activations too cannot drop them as it goes along."""

_DESCRIPTION = "description.json"
_PARAMETERS = "parameters.safetensors"


def describe(weights: Weights, precision: str, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ModelDescription:
    """Describe a network with its weights; `shapes` are what it computes, by default all of its outputs."""
    spec = weights.spec
    return ModelDescription(
        name=spec.name,
        weights_digest=weights.digest,
        weights_source=weights.source,
        trained=weights.trained,
        precision=precision,
        wiring=spec.wiring,
        image_height=spec.image_size,
        image_width=spec.image_size,
        output_shapes=output_shapes(spec, classifier=weights.has_classifier) if shapes is None else shapes,
        labels=weights.labels if weights.has_classifier else (),
    )


def write_description(description: ModelDescription, directory: Path) -> None:
    """Leave a description in an artifact."""
    (directory / _DESCRIPTION).write_text(json.dumps(dataclasses.asdict(description)))


def copy_description(artifact: Path, directory: Path, precision: str) -> None:
    """Leave the description of another artifact in one of the same network in `precision`."""
    document = json.loads((artifact / _DESCRIPTION).read_bytes())
    (directory / _DESCRIPTION).write_text(json.dumps(document | {"precision": precision}))


def read_description(options: EngineOptions) -> ModelDescription:
    """Read what an artifact is of, with the source's name as the operator gave it now.

    Raises:
        WeightsError: the artifact is not there any more.
    """
    if options.artifact is None:
        raise AssertionError("this engine loads what was prepared")
    try:
        document = json.loads((Path(options.artifact) / _DESCRIPTION).read_bytes())
    except FileNotFoundError as error:
        raise WeightsError(f"the prepared model {options.artifact} was deleted; start the server again") from error
    return dataclasses.replace(description_of(document), weights_source=options.model.source)


def write_parameters(weights: Weights, directory: Path) -> None:
    """Leave the folded parameters in an artifact, float32 by the names that `fold` gives."""
    save_file(fold(weights.spec, dict(weights.variables)), directory / _PARAMETERS)


def link_parameters(artifact: Path, directory: Path) -> None:
    """Share the parameters of another artifact."""
    (directory / _PARAMETERS).hardlink_to(artifact / _PARAMETERS)


def read_parameters(options: EngineOptions) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Read the folded parameters of an artifact one by one, so that they are never all held twice."""
    if options.artifact is None:
        raise AssertionError("this engine loads what was prepared")
    with safe_open(Path(options.artifact) / _PARAMETERS, "numpy") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            yield name, file.get_tensor(name)


def black_images(options: EngineOptions, count: int) -> npt.NDArray[np.uint8]:
    """Give uint8 [count, H, W, 3] to warm with."""
    size = options.model.spec.image_size
    return np.zeros((count, size, size, 3), np.uint8)
