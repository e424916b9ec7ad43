"""One picture of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from nasfeat_client.images import Image

SUFFIXES = frozenset({".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that has not been read.

    Attributes:
        name: what it is called in the table.
        read: gives what the SDK takes; of those that come from one archive only the newest can be read. Raises
            `OSError` if it cannot be read.
    """

    name: str
    read: Callable[[], Image]


def file_picture(path: Path | str) -> Picture:
    """Give the picture in a file, which the SDK reads."""
    return Picture(name=str(path), read=lambda: path)


def is_picture(name: str) -> bool:
    """Tell by its name whether a file among others is a picture: it ends like one and is not hidden."""
    path = PurePath(name)
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts if part != "..")
