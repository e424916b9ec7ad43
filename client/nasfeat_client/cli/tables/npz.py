"""The .npz file of NumPy."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nasfeat_client.cli.tables.place import Place, explained, reserved
from nasfeat_client.cli.tables.row import Cell, Likeness, Row


class NpzTable:
    """Arrays [n, ...] of all images, by column, and the model's identity.

    The rows wait on the same disk, in files without a name: the maps of a video outgrow the memory.
    """

    def __init__(self, place: Place, open_files: ExitStack) -> None:
        self._place = place
        self._open_files = open_files
        self._likeness = Likeness()
        self._cells: dict[str, list[Cell]] = {}
        self._arrays: dict[str, IO[bytes]] = {}
        self._count = 0

    def add(self, row: Row) -> None:
        """Take a row; see `Table.add`."""
        self._likeness.check(row)
        with explained(self._place.path):
            if not self._arrays:
                self._arrays = {name: self._nameless() for name in row.arrays}
            for name, array in row.arrays.items():
                self._arrays[name].write(array.tobytes())
                # Now: a row that does not fit must not be counted.
                self._arrays[name].flush()
        for name, cell in row.cells.items():
            self._cells.setdefault(name, []).append(cell.timestamp() if isinstance(cell, datetime) else cell)
        self._count += 1

    def finish(self) -> None:
        """Write the columns and the identity's fields, its name as `model`; see `Table.finish`."""
        identity = self._likeness.identity
        described = asdict(identity) if identity else {}
        with explained(self._place.path):
            content: dict[str, Any] = {name: self._mapped(name) for name in self._arrays}
            content |= {name: np.array(cells) for name, cells in self._cells.items()}
            content |= {"model": described.pop("name", ""), **described}
            with self._place.temporary.open("wb") as file:
                np.savez(file, **content)
        self._place.fill()

    def _mapped(self, name: str) -> npt.NDArray[np.float32]:
        """Give the rows of an array without reading them; part of one, which a full disk left behind, is not taken."""
        shape = self._likeness.shapes[name] if self._likeness.shapes else ()
        return np.memmap(self._arrays[name], "<f4", "r", shape=(self._count, *shape))

    def _nameless(self) -> IO[bytes]:
        file = TemporaryFile(dir=self._place.temporary.parent)  # noqa: SIM115 - closed with this object's block
        self._open_files.callback(_dropped, file)
        return file


@contextmanager
def npz_table(path: Path) -> Iterator[NpzTable]:
    """Open a table that will be at `path`.

    Raises:
        click.ClickException: it cannot be written.
    """
    with reserved(path) as place, ExitStack() as open_files:
        yield NpzTable(place, open_files)


def _dropped(file: IO[bytes]) -> None:
    # A full disk has been reported when the row was written; closing tries again.
    with suppress(OSError):
        file.close()
