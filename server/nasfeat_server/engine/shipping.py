"""Artifacts for machines that may not share the server's cache: offered to each, sent to those that lack them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.choice import processor
from nasfeat_server.engine.hold import MANIFEST

Contents = Mapping[str, npt.NDArray[np.uint8]]
"""The files of an artifact, by their paths in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What is to be found on another machine, or made there of what is sent.

    Attributes:
        artifact: the server's directory; another machine has it in the same place if they share a file system.
        processor: what compiled files in it run on.
    """

    artifact: str
    processor: str

    @classmethod
    def of(cls, artifact: str) -> "Shipment":
        """Offer an artifact of this machine."""
        return cls(artifact=artifact, processor=processor())

    def contents(self) -> Contents:
        """Map the files to be sent; none of them is read before."""
        place = Path(self.artifact)
        files = (path for path in sorted(place.rglob("*")) if path.is_file() and path.name != MANIFEST)
        return {str(path.relative_to(place)): _mapped(path) for path in files}


def _mapped(path: Path) -> npt.NDArray[np.uint8]:
    # An empty file cannot be mapped.
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
