"""Where weights come from, and what they are once here: arrays by TF-Slim's variable names."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import NetworkSpec

_RANDOM = re.compile(r"random:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The variables of a network, exactly those that inference reads.

    Attributes:
        variables: float32 arrays by TF-Slim's names, sorted; without `final_layer/FC` if the source has none.
        source: the source as it was named.
        trained: False for random weights.
        digest: "sha256:<hex>" over every variable's name, shape and float32 values.
    """

    variables: Mapping[str, npt.NDArray[np.float32]]
    source: str
    trained: bool
    digest: str


def load_weights(source: str, spec: NetworkSpec) -> Weights:
    """Read the weights of `spec` from `source`.

    Args:
        source: `random:SEED`; `published`, the spec's own module on TF-Hub; `hub:HANDLE`, another one; or the path of
            a TF-Slim checkpoint, of a directory with one, or of a TF1 Hub module.
        spec: the network that the weights must fit, by every name and shape.

    Raises:
        WeightsError: the source cannot be had, or is not of this network.
    """
    if source.startswith("random:"):
        variables = _random(source, spec)
    else:
        from nasfeat_server.network.weights.slim import find_checkpoint, read_checkpoint  # noqa: PLC0415

        variables = read_checkpoint(find_checkpoint(_locate(source, spec)), spec)
    return Weights(
        variables=variables, source=source, trained=not source.startswith("random:"), digest=digest(variables)
    )


def digest(variables: Mapping[str, npt.NDArray[np.float32]]) -> str:
    """Identify weights by what they are: "sha256:<hex>" over names, shapes and little-endian values, by name."""
    total = hashlib.sha256()
    for name, array in sorted(variables.items()):
        total.update(f"{name} {list(array.shape)}\n".encode())
        total.update(np.ascontiguousarray(array, "<f4").data)
    return f"sha256:{total.hexdigest()}"


def _random(source: str, spec: NetworkSpec) -> dict[str, npt.NDArray[np.float32]]:
    from nasfeat_server.network.weights.random import random_variables  # noqa: PLC0415 - brings TensorFlow

    match = _RANDOM.fullmatch(source)
    if not match:
        raise WeightsError(f"random weights are named random:SEED with a whole number, not {source!r}")
    return random_variables(spec, int(match[1]))


def _locate(source: str, spec: NetworkSpec) -> Path:
    if source == "published":
        if spec.hub_handle is None:
            raise WeightsError(f"no weights of {spec.name} are published; give a checkpoint or random:SEED")
        source = f"hub:{spec.hub_handle}"
    if source.startswith("hub:"):
        from nasfeat_server.network.weights.hub import resolve  # noqa: PLC0415 - brings TensorFlow

        return resolve(source.removeprefix("hub:"))
    return Path(source).expanduser()
