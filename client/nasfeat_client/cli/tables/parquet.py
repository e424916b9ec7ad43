"""Parquet files: written in one go here, a part at a time in `parts`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nasfeat_client.cli.tables.arrow import batch_of, is_full, schema_of
from nasfeat_client.cli.tables.place import Place, explained, reserved
from nasfeat_client.cli.tables.row import Likeness, Row


def parquet_writer(path: Path, schema: Any) -> Any:
    """Open a file for tables of `schema`, to be closed by the caller."""
    plain = [field.name for field in schema if not pa.types.is_fixed_size_list(field.type)]
    # Features hardly repeat, and no reader asks for the least of them.
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False, write_statistics=plain)


class ParquetTable:
    """A Parquet file with a row for each image and the model's identity in its metadata."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._likeness = Likeness()
        self._writer: Any = None
        self._schema: Any = None
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Take a row; see `Table.add`."""
        self._likeness.check(row)
        if not self._writer:
            self._schema = schema_of(row)
            self._writer = parquet_writer(self._place.temporary, self._schema)
        self._rows.append(row)
        if is_full(self._rows):
            self._write()

    def finish(self) -> None:
        """See `Table.finish`."""
        self._write()
        with explained(self._place.path):
            if self._writer:
                self._writer.close()
        self._place.fill()

    def close(self) -> None:
        """Let go of a file that was not finished."""
        if self._writer and self._writer.is_open:
            self._writer.close()

    def _write(self) -> None:
        if self._rows:
            with explained(self._place.path):
                self._writer.write_batch(batch_of(self._rows, self._schema))
        self._rows = []


@contextmanager
def parquet_table(path: Path) -> Iterator[ParquetTable]:
    """Open a table that will be at `path`.

    Raises:
        click.ClickException: it cannot be written.
    """
    with reserved(path) as place:
        table = ParquetTable(place)
        try:
            yield table
        finally:
            with explained(path):
                table.close()
