"""The third stage: a node writes the rows of a part."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from nasfeat_client.cli.cluster.extracting import ARRAY, MODEL
from nasfeat_client.cli.cluster.ledger import Record, part_location
from nasfeat_client.cli.cluster.locations import Location, Storage
from nasfeat_client.cli.cluster.reading import MESSAGE, NAME, REASON
from nasfeat_client.cli.tables.arrow import batch_of, schema_of
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.cli.tables.parquet import parquet_writer
from nasfeat_client.cli.tables.row import Likeness, Row
from nasfeat_client.types import ModelIdentity

RECORD = "record"
"""The one column of what comes of a part: `Record.written`."""


def write(block: Any, folder: Location) -> Any:
    """Write the rows of a block of `Extracting` into a file of `folder`; its name is that of the part.

    Returns:
        A table of one row with the record, by which the part will count.

    Raises:
        OSError: it cannot be written.
    """
    rows: list[Row] = []
    errors: list[ItemError] = []
    for cells in block.to_pylist():
        if cells[REASON]:
            errors.append(ItemError(name=cells[NAME], reason=cells[REASON], message=cells[MESSAGE]))
        else:
            rows.append(_row(cells))
    record = Record(names=block[NAME].to_pylist(), errors=tuple(errors), model=rows[0].identity if rows else None)
    if rows:
        Storage(folder).write(part_location(folder, record.part), _parquet(rows))
    return pa.table({RECORD: pa.array([record.written()], pa.large_binary())})


def _row(cells: Mapping[str, Any]) -> Row:
    model = json.loads(cells[MODEL])
    arrays = {
        name: np.frombuffer(cells[ARRAY + name], np.float32).reshape(shape) for name, shape in model["shapes"].items()
    }
    return Row(cells={NAME: cells[NAME]}, arrays=arrays, identity=ModelIdentity(**model["identity"]))


def _parquet(rows: list[Row]) -> Any:
    likeness = Likeness()
    for row in rows:
        likeness.check(row)
    schema = schema_of(rows[0])
    sink = pa.BufferOutputStream()
    with parquet_writer(sink, schema) as writer:
        writer.write_batch(batch_of(rows, schema))
    return sink.getvalue()
