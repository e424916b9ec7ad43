"""The variables of a located source."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights.imagenet import class_names
from nasfeat_server.network.weights.keras_files import read_keras
from nasfeat_server.network.weights.random import random_variables
from nasfeat_server.network.weights.slim import find_checkpoint, is_checkpoint, read_checkpoint
from nasfeat_server.network.weights.values import Located, Weights, digest

Array = npt.NDArray[np.float32]

_CLASSIFIER = "final_layer/FC/weights"


def read_weights(located: Located) -> Weights:
    """Read every variable of `located`.

    Raises:
        WeightsError: the source cannot be read, or it lists what does not fit.
    """
    spec, variables = _read(located)
    return Weights(
        variables=variables,
        source=located.source,
        trained=located.trained,
        digest=digest(variables),
        spec=spec,
        labels=_labels(located, spec) if _CLASSIFIER in variables else (),
    )


def _read(located: Located) -> tuple[NetworkSpec, dict[str, Array]]:
    if located.location.startswith("random:"):
        return located.spec, random_variables(located.spec, int(located.location.removeprefix("random:")))
    path = Path(located.location)
    if path.is_file() and not is_checkpoint(path):
        return read_keras(path, located.spec)
    return read_checkpoint(find_checkpoint(path), located.spec)


def _labels(located: Located, spec: NetworkSpec) -> tuple[str, ...]:
    if not located.labels:
        return class_names(spec.num_classes) if spec.family == "imagenet" else ()
    if len(located.labels) != spec.num_classes:
        raise WeightsError(
            f"{located.source} names {len(located.labels)} classes, and its classifier has {spec.num_classes}"
        )
    return located.labels
