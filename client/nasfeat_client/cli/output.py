"""The .npz file: complete, or not there."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import click
import numpy as np
import numpy.typing as npt

from nasfeat_client.errors import UnexpectedReplyError
from nasfeat_client.result import Array
from nasfeat_client.types import ModelIdentity


class NpzFile:
    """A file on its way; it is written beside its place and moved there.

    The rows wait on the same disk, in files without a name: the maps of a video outgrow the memory.
    """

    def __init__(self, path: Path, temporary: Path, open_files: ExitStack) -> None:
        self.path = path
        self._temporary = temporary
        self._open_files = open_files
        self._rows: dict[str, IO[bytes]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._count = 0

    def add_row(self, arrays: Mapping[str, Array]) -> None:
        """Take one image's part of each array, which has the shape of the images' before.

        Raises:
            UnexpectedReplyError: it has not.
            click.ClickException: there is no room on the disk, for one.
        """
        shapes = {name: array.shape for name, array in arrays.items()}
        with _explained(self.path):
            if not self._count:
                self._shapes = shapes
                self._rows = {name: self._nameless() for name in shapes}
            if shapes != self._shapes:
                raise UnexpectedReplyError(f"an image came with {shapes}, the ones before with {self._shapes}")
            for name, array in arrays.items():
                self._rows[name].write(array.tobytes())
                # Now: a row that does not fit must not be counted.
                self._rows[name].flush()
        self._count += 1

    def save(self, arrays: Mapping[str, npt.NDArray[Any]], identity: ModelIdentity) -> None:
        """Write the rows, `arrays` and the identity's fields, its name as `model`, and put the file in its place.

        Raises:
            click.ClickException: it cannot be written now: the disk is full, for one.
        """
        described = asdict(identity)
        with _explained(self.path):
            content: dict[str, Any] = {name: self._mapped(name) for name in self._rows}
            content |= {**arrays, "model": described.pop("name"), **described}
            with self._temporary.open("wb") as file:
                np.savez(file, **content)
            self._temporary.replace(self.path)

    def _mapped(self, name: str) -> npt.NDArray[np.float32]:
        """Give the rows of an array without reading them; part of one, which a full disk left behind, is not taken."""
        return np.memmap(self._rows[name], "<f4", "r", shape=(self._count, *self._shapes[name]))

    def _nameless(self) -> IO[bytes]:
        file = TemporaryFile(dir=self._temporary.parent)  # noqa: SIM115 - closed with this object's block
        self._open_files.callback(_dropped, file)
        return file


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
        with ExitStack() as open_files:
            yield NpzFile(path, temporary, open_files)
    finally:
        temporary.unlink(missing_ok=True)


def _dropped(file: IO[bytes]) -> None:
    # A full disk has been reported when the row was written; closing tries again.
    with suppress(OSError):
        file.close()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from error
