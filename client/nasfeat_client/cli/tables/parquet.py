"""Parquet files: written in one go here, a part at a time in `parts`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nasfeat_client.cli.tables.arrow import BatchTable
from nasfeat_client.cli.tables.place import reserved


def parquet_writer(path: Path, schema: Any) -> Any:
    """Open a file for tables of `schema`, to be closed by the caller."""
    plain = [field.name for field in schema if not pa.types.is_fixed_size_list(field.type)]
    # Features hardly repeat, and no reader asks for the least of them.
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False, write_statistics=plain)


@contextmanager
def parquet_table(path: Path) -> Iterator[BatchTable]:
    """Open a table that will be at `path`.

    Raises:
        click.ClickException: it cannot be written.
    """
    with (
        reserved(path) as place,
        closing(BatchTable(lambda schema: parquet_writer(place.temporary, schema), place)) as table,
    ):
        yield table
