"""Rows as Arrow has them, and Arrow's own formats: a file, or a stream that others read as it comes."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from nasfeat_client.cli.tables.place import Place, explained, reserved
from nasfeat_client.cli.tables.row import Likeness, Row
from nasfeat_client.types import ModelIdentity

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), datetime: pa.timestamp("us", tz="UTC")}
# An array's own shape, in the metadata of its column: a map is written as one list of all its values.
_SHAPE = b"shape"
_IDENTITY = "nasfeat."


def schema_of(row: Row) -> Any:
    """Give the schema of tables with rows like `row`: fixed-size lists of float32, and the identity as metadata."""
    cells = [pa.field(name, _TYPES[type(cell)], nullable=False) for name, cell in row.cells.items()]
    arrays = [
        pa.field(
            name,
            pa.list_(pa.field("item", pa.float32(), nullable=False), array.size),
            nullable=False,
            metadata={_SHAPE: json.dumps(array.shape)},
        )
        for name, array in row.arrays.items()
    ]
    metadata = {f"{_IDENTITY}{name}": json.dumps(value) for name, value in asdict(row.identity).items()}
    return pa.schema([*cells, *arrays], metadata)


def identity_in(schema: Any) -> ModelIdentity | None:
    """Read back what `schema_of` wrote; None if it wrote nothing there."""
    described = {
        key.decode().removeprefix(_IDENTITY): json.loads(value)
        for key, value in (schema.metadata or {}).items()
        if key.startswith(_IDENTITY.encode())
    }
    return ModelIdentity(**described) if described else None


def shapes_in(schema: Any) -> dict[str, tuple[int, ...]]:
    """Give the shape of each image's array, by column."""
    return {
        field.name: tuple(json.loads(field.metadata[_SHAPE]))
        for field in schema
        if field.metadata and _SHAPE in field.metadata
    }


def batch_of(rows: Sequence[Row], schema: Any) -> Any:
    """Put `rows`, one or more, into a record batch."""
    columns = []
    for field in schema:
        if field.name in rows[0].arrays:
            values = np.stack([row.arrays[field.name] for row in rows]).reshape(-1)
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(values), type=field.type))
        else:
            columns.append(pa.array([row.cells[field.name] for row in rows], field.type))
    return pa.record_batch(columns, schema)


class ArrowTable:
    """Arrow's IPC format. To a stream every row goes at once; a file has them in larger batches.

    Args:
        file: where it is written.
        place: the file's; None of a stream.
    """

    def __init__(self, file: IO[bytes], place: Place | None) -> None:
        self._file = file
        self._place = place
        self._likeness = Likeness()
        self._writer: Any = None
        self._schema: Any = None
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Take a row; see `Table.add`."""
        self._likeness.check(row)
        with explained(self._place.path if self._place else "to stdout"):
            if not self._writer:
                self._schema = schema_of(row)
                self._writer = (pa.ipc.new_file if self._place else pa.ipc.new_stream)(self._file, self._schema)
            self._rows.append(row)
            if not self._place or is_full(self._rows):
                self._write()

    def finish(self) -> None:
        """See `Table.finish`."""
        with explained(self._place.path if self._place else "to stdout"):
            self._write()
            if self._writer:
                self._writer.close()
            self._file.flush()
        if self._place:
            self._place.fill()

    def _write(self) -> None:
        if self._rows:
            self._writer.write_batch(batch_of(self._rows, self._schema))
            self._file.flush()
        self._rows = []


_FULL_ROWS, _FULL_BYTES = 1024, 32 * 2**20


def is_full(rows: Sequence[Row]) -> bool:
    """Tell whether `rows` are enough for a batch: of one, and of what memory holds of it, there is no use of more."""
    return len(rows) >= rows_in_full(rows[0].nbytes)


def rows_in_full(row_bytes: int) -> int:
    """Give how many rows of so many bytes each make a full batch."""
    return max(1, min(_FULL_ROWS, _FULL_BYTES // max(1, row_bytes)))


@contextmanager
def arrow_table(path: Path) -> Iterator[ArrowTable]:
    """Open a table that will be at `path`.

    Raises:
        click.ClickException: it cannot be written.
    """
    with reserved(path) as place, place.temporary.open("wb") as file:
        yield ArrowTable(file, place)
