"""A weights source on this machine, and the variables read from it: plain values, without any framework."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nasfeat_server.network.spec import NetworkSpec, spec_of

Report = Callable[[str], None]
"""Is told, in one line each, what takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A weights source that is on this machine, and all that is known of it without reading the variables.

    Attributes:
        source: the source as it was named.
        location: `random:SEED`, or the path of a checkpoint, a module's directory or a Keras file.
        spec: the network, as the module's card or the variant has it, and as it shall be wired.
        labels: the names of the classifier's classes, if the module's card has them.
        trained: False for random weights.
    """

    source: str
    location: str
    spec: NetworkSpec
    labels: tuple[str, ...]
    trained: bool


def located_of(document: Mapping[str, Any]) -> Located:
    """Make a `Located` of its fields as JSON has them."""
    return Located(**{**document, "spec": spec_of(document["spec"]), "labels": tuple(document["labels"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The variables of a network, exactly those that inference reads.

    Attributes:
        variables: float32 arrays by TF-Slim's names, sorted; without `final_layer/FC` if the source has none.
        source: the source as it was named.
        trained: False for random weights.
        digest: "sha256:<hex>" over every variable's name, shape and float32 values.
        spec: the network, with as many classes as the variables have.
        labels: the names of the classifier's classes, in order; empty if there are none.
    """

    variables: Mapping[str, npt.NDArray[np.float32]]
    source: str
    trained: bool
    digest: str
    spec: NetworkSpec
    labels: tuple[str, ...]

    @property
    def has_classifier(self) -> bool:
        """Whether `Logits` can be computed."""
        return "final_layer/FC/weights" in self.variables


def digest(variables: Mapping[str, npt.NDArray[np.float32]]) -> str:
    """Identify weights by what they are: "sha256:<hex>" over names, shapes and little-endian values, by name."""
    total = hashlib.sha256()
    for name, array in sorted(variables.items()):
        total.update(f"{name} {list(array.shape)}\n".encode())
        total.update(np.ascontiguousarray(array, "<f4").data)
    return f"sha256:{total.hexdigest()}"
