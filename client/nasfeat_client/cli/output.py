"""The .npz file: complete, or not there."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from nasfeat_client.types import ModelIdentity


class NpzFile:
    """A file on its way; it is written beside its place and moved there."""

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path = path
        self._temporary = temporary

    def save(self, arrays: Mapping[str, npt.NDArray[Any]], identity: ModelIdentity) -> None:
        """Write `arrays` and the identity's fields, its name as `model`, and put the file in its place.

        Raises:
            click.ClickException: it cannot be written now: the disk is full, for one.
        """
        described = asdict(identity)
        content: dict[str, Any] = {**arrays, "model": described.pop("name"), **described}
        with _explained(self.path):
            with self._temporary.open("wb") as file:
                np.savez(file, **content)
            self._temporary.replace(self.path)


@contextmanager
def npz_file(path: Path) -> Iterator[NpzFile]:
    """Make sure now that `path` can be written later; what stood there stays until then.

    Raises:
        click.ClickException: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with _explained(path):
        temporary.touch()
    try:
        yield NpzFile(path, temporary)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from error
