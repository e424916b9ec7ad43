"""The pictures to learn from: a folder for each class, every file read once before anything is trained."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import ConfigurationError, InvalidImageError

Decoder = Callable[[bytes, int], npt.NDArray[np.uint8]]
"""From the bytes of a picture file and a size to uint8 RGB [size, size, 3]; raises InvalidImageError."""
Report = Callable[[str], None]

_AT_ONCE = 512
_LISTED = 20
_REPORT_EVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture file.

    Attributes:
        path: of the file.
        label: the index of its class.
        digest: SHA-256 of its bytes, in hexadecimal; what the same picture is known by.
    """

    path: Path
    label: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A file that is not checked yet."""

    path: Path
    label: int


def find_files(directory: Path, labels: Sequence[str] | None = None) -> tuple[tuple[str, ...], tuple[Unread, ...]]:
    """List the files below the folders of `directory`, sorted; names that begin with a dot are passed over.

    Args:
        directory: with a folder for each class.
        labels: the classes there may be; by default the names of the folders, sorted.

    Returns:
        The names of the classes, and the files.

    Raises:
        ConfigurationError: there are fewer than two classes, an unknown one or an empty one.
    """
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is no directory; it must hold a folder of pictures for each class")
    folders = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = tuple(folder.name for folder in folders)
    known = names if labels is None else tuple(labels)
    if len(known) < 2:
        raise ConfigurationError(f"{directory} holds {len(names)} folders; it takes one for each of 2 classes or more")
    if unknown := set(names) - set(known):
        raise ConfigurationError(
            f"{directory} has classes that the training data has not: {', '.join(sorted(unknown))}"
        )
    files = [Unread(path=path, label=known.index(folder.name)) for folder in folders for path in _files(folder)]
    found = {file.label for file in files}
    if labels is None and len(found) < len(names):
        empty = ", ".join(name for label, name in enumerate(names) if label not in found)
        raise ConfigurationError(f"{directory} has folders without any file: {empty}")
    return known, tuple(files)


def _files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found)


def read_pictures(
    files: Sequence[Unread], decode: Decoder, size: int, *, skip_unreadable: bool, report: Report
) -> tuple[Picture, ...]:
    """Read and decode every file, so that none stops the training later.

    Args:
        files: from `find_files`.
        decode: as the server decodes.
        size: rows and columns to decode to.
        skip_unreadable: report the files that cannot be decoded, and go on without them. By default they are refused:
            a class that lost pictures unnoticed costs more than a second start.
        report: is told the progress and what is skipped.

    Raises:
        ConfigurationError: it names and counts the files that cannot be decoded.
    """
    pictures: list[Picture] = []
    problems: list[str] = []
    told = time.monotonic()
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(files), _AT_ONCE):
            for read in threads.map(lambda file: _read(file, decode, size), files[start : start + _AT_ONCE]):
                if isinstance(read, Picture):
                    pictures.append(read)
                else:
                    problems.append(read)
            if time.monotonic() - told > _REPORT_EVERY_S:
                told = time.monotonic()
                report(f"checked {start + _AT_ONCE} of {len(files)} pictures")
    if problems:
        listed = [*problems[:_LISTED], *[f"and {len(problems) - _LISTED} more"] * (len(problems) > _LISTED)]
        told_of = f"{len(problems)} of {len(files)} files cannot be read:\n  " + "\n  ".join(listed)
        if not skip_unreadable:
            raise ConfigurationError(f"{told_of}\nremove them, or leave them out with --skip-unreadable")
        report(f"left out, as {told_of}")
    return tuple(pictures)


def _read(file: Unread, decode: Decoder, size: int) -> Picture | str:
    try:
        data = file.path.read_bytes()
        decode(data, size)
    except (OSError, InvalidImageError) as error:
        return f"{file.path}: {error}"
    return Picture(path=file.path, label=file.label, digest=hashlib.sha256(data).hexdigest())


def identify(labels: Sequence[str], *groups: Sequence[Picture]) -> str:
    """Name a data set by its content: the classes, and each group's pictures in order."""
    total = hashlib.sha256(repr(tuple(labels)).encode())
    for group in groups:
        total.update(repr([(picture.label, picture.digest) for picture in group]).encode())
    return total.hexdigest()
