"""Photographs that come with scikit-image, inside its wheel: nothing is downloaded."""

import importlib.resources
from dataclasses import dataclass
from pathlib import Path

# Colour pictures of scikit-image's `data` folder that are unlike each other.
_FILES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "ihc.png",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One picture.

    Attributes:
        name: what it shows, in a word or two.
        path: its file.
    """

    name: str
    path: Path


def photographs() -> tuple[Photograph, ...]:
    """Give the photographs that the installed scikit-image brings.

    Raises:
        FileNotFoundError: it brings fewer than two of those wanted.
    """
    folder = Path(str(importlib.resources.files("skimage"))) / "data"
    found = tuple(
        Photograph(name=Path(file).stem.removesuffix("_left").replace("_", " "), path=folder / file)
        for file in _FILES
        if (folder / file).exists()
    )
    if len(found) < 2:
        raise FileNotFoundError(f"scikit-image has no photographs in {folder}")
    return found
