"""Lance: a columnar format with an index for vectors, in a folder."""

from pathlib import Path
from typing import Any

import click
import lance
import pyarrow as pa

from nasfeat_client.cli.stores.store import DIGEST, ID, VECTOR, Rows, check_same_length, check_same_model


class LanceStore:
    """A dataset with a column for each of the table's, and the ids.

    Args:
        path: its folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._dataset: Any = lance.dataset(path) if path.exists() else None
        self._checked = False

    def put(self, rows: Rows) -> None:
        """See `Store.put`."""
        table = _table(rows)
        try:
            if self._dataset is None:
                self._dataset = lance.write_dataset(table, self._path)
            else:
                self._check(rows)
                merge = self._dataset.merge_insert(ID)
                merge.when_matched_update_all().when_not_matched_insert_all().execute(table)
        except (OSError, ValueError, RuntimeError) as error:
            raise click.ClickException(f"cannot write {self._path}: {error}") from error
        self._checked = True

    def count(self) -> int:
        """See `Store.count`."""
        return int(self._dataset.count_rows()) if self._dataset else 0

    def close(self) -> None:
        """Nothing is open."""

    def _check(self, rows: Rows) -> None:
        if self._checked:
            return
        there = self._dataset.schema.field(VECTOR).type.list_size
        check_same_length(there, rows, str(self._path))
        first = self._dataset.to_table(columns=[DIGEST], limit=1)[DIGEST].to_pylist()
        check_same_model(first[0] if first else None, rows, str(self._path))


def _table(rows: Rows) -> Any:
    length = rows.vectors.shape[1]
    columns: dict[str, Any] = {ID: list(rows.ids), **rows.cells, DIGEST: [rows.digest] * len(rows.ids)}
    columns[VECTOR] = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.reshape(-1)), length)
    return pa.table(columns)
