"""Rows as Arrow has them, and Arrow's own formats: a file, or a stream that others read as it comes."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
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


class BatchTable:
    """A table that is written a batch of rows at a time, the identity in its schema's metadata.

    Args:
        opened: opens what writes batches of a schema.
        place: the file's; None of a stream, to which every row goes at once.
        flush: sends what was written on its way.
    """

    def __init__(
        self, opened: Callable[[Any], Any], place: Place | None, flush: Callable[[], None] = lambda: None
    ) -> None:
        self._opened = opened
        self._place = place
        self._flush = flush
        self._likeness = Likeness()
        self._writer: Any = None
        self._schema: Any = None
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Take a row; see `Table.add`."""
        self._likeness.check(row)
        self._rows.append(row)
        if not self._place or is_full(self._rows):
            self._write()

    def finish(self) -> None:
        """See `Table.finish`."""
        self._write()
        self.close()
        if self._place:
            self._place.fill()

    def close(self) -> None:
        """Let go of the file, finished or not; may be called again."""
        writer, self._writer = self._writer, None
        if writer:
            with self._explained():
                writer.close()
                self._flush()

    def _write(self) -> None:
        if not self._rows:
            return
        with self._explained():
            if not self._writer:
                self._schema = schema_of(self._rows[0])
                self._writer = self._opened(self._schema)
            self._writer.write_batch(batch_of(self._rows, self._schema))
            self._flush()
        self._rows = []

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._place.path if self._place else "to stdout")


_FULL_ROWS, _FULL_BYTES = 1024, 32 * 2**20


def is_full(rows: Sequence[Row]) -> bool:
    """Tell whether `rows` are enough for a batch: of one, and of what memory holds of it, there is no use of more."""
    return len(rows) >= rows_in_full(rows[0].nbytes)


def rows_in_full(row_bytes: int) -> int:
    """Give how many rows of so many bytes each make a full batch."""
    return max(1, min(_FULL_ROWS, _FULL_BYTES // max(1, row_bytes)))


@contextmanager
def arrow_table(path: Path) -> Iterator[BatchTable]:
    """Open a table in Arrow's file format that will be at `path`.

    Raises:
        click.ClickException: it cannot be written.
    """
    with (
        reserved(path) as place,
        place.temporary.open("wb") as file,
        closing(BatchTable(lambda schema: pa.ipc.new_file(file, schema), place)) as table,
    ):
        yield table


@contextmanager
def arrow_stream(file: IO[bytes]) -> Iterator[BatchTable]:
    """Open a table in Arrow's stream format that goes to `file`, for others to read as it comes."""
    with closing(BatchTable(lambda schema: pa.ipc.new_stream(file, schema), None, file.flush)) as table:
        yield table
