"""Feature vectors: read from a table, compared with each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nasfeat_client.cli.tables.arrow import identity_in
from nasfeat_client.cli.tables.place import explained
from nasfeat_client.types import ModelIdentity

_ROWS_AT_ONCE = 1024

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row of a table and how like it is to what was looked for.

    Attributes:
        label: its name, or its time in a video.
        cosine: of the angle between the two vectors: 1 for the same direction.
    """

    label: str
    cosine: float


class FeatureTable:
    """A Parquet table of features, read a group of rows at a time.

    Args:
        path: the file.
        column: which of its columns; None takes the only one that is of vectors.

    Attributes:
        identity: the model that made it; None if it does not say.
        rows: how many it has.

    Raises:
        click.ClickException: it is no such table.
    """

    def __init__(self, path: Path, column: str | None = None) -> None:
        try:
            with explained(path):
                # Not the whole file ahead of the reading.
                self._file = pq.ParquetFile(path, pre_buffer=False)
        except pa.ArrowInvalid as error:
            raise click.ClickException(f"cannot read {path}: {error}") from error
        schema = self._file.schema_arrow
        vectors = [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
        if column not in vectors and (column or len(vectors) != 1):
            raise click.UsageError(f"{path} has the columns {', '.join(vectors) or 'of no vectors'}: choose one")
        self.identity = identity_in(schema)
        self.rows: int = self._file.metadata.num_rows
        self._column = column or vectors[0]
        self._cells = [field.name for field in schema if field.name not in vectors]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def check_model(self, identity: ModelIdentity) -> None:
        """Do nothing if `identity` made the table.

        Raises:
            click.ClickException: another model did; its vectors do not compare.
        """
        if self.identity and self.identity.weights_digest != identity.weights_digest:
            made, serving = (f"{one.name} with weights {one.weights_digest}" for one in (self.identity, identity))
            raise click.ClickException(f"the table is of {made}, the server has {serving}: vectors do not compare")

    def batches(self) -> Iterator[tuple[Any, Vectors]]:
        """Give all rows in their order: a record batch of what tells them apart, and their vectors [n, length]."""
        # Of as many rows as are written together: reading more at once takes their memory several times.
        for batch in self._file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[*self._cells, self._column]):
            values = batch.column(self._column)
            flat = values.flatten().to_numpy(zero_copy_only=False)
            yield batch.select(self._cells), flat.reshape(len(values), values.type.list_size)

    def most_like(self, query: Vectors, top_k: int) -> list[Found]:
        """Give the rows whose vectors point most nearly where `query`, [length], does; the best first."""
        best: list[Found] = []
        for cells, vectors in self.batches():
            if vectors.shape[1] != len(query):
                raise click.ClickException(f"the table's vectors have {vectors.shape[1]} values, not {len(query)}")
            near = cosines(vectors, query[np.newaxis])[:, 0]
            some = np.argsort(-near, kind="stable")[:top_k]
            found = [Found(label=_label(cells, row), cosine=float(near[row])) for row in some.tolist()]
            # Stable: of equals the first rows of the table stay.
            best = sorted([*best, *found], key=lambda one: -one.cosine)[:top_k]
        return best


def _label(cells: Any, row: int) -> str:
    values = {name: cells.column(name)[row].as_py() for name in cells.schema.names}
    if "name" in values:
        return str(values["name"])
    if "timestamp_s" in values:
        return f"{values['timestamp_s']:.3f} s"
    return ", ".join(map(str, values.values()))


def cosines(ones: Vectors, others: Vectors) -> Vectors:
    """Give the cosine of every angle between two sets of vectors: [n, length], [m, length] -> [n, m].

    A vector of zeros has no direction: its cosines are 0.
    """
    product: Vectors = _directions(ones) @ _directions(others).T
    return product


def _directions(vectors: Vectors) -> Vectors:
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, np.where(lengths > 0, lengths, 1), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a video changes from frame to frame.

    Attributes:
        times_s: of every frame, ascending.
        distances: of every frame from the one before: 1 - cosine; the first has none, 0.
        cuts: numbers of the frames that begin another scene.
    """

    times_s: npt.NDArray[np.float64]
    distances: npt.NDArray[np.float64]
    cuts: Sequence[int]


def change_of(table: FeatureTable, *, sensitivity: float) -> Change:
    """Follow a video's features through time, and find where scenes are cut.

    Args:
        table: the features of frames, in their order, with a column `timestamp_s`.
        sensitivity: a cut is a change of at least so many times what is usual, as far as the frames around it tell.

    Raises:
        click.ClickException: the table is of no video.
    """
    times: list[float] = []
    distances: list[npt.NDArray[np.float64]] = []
    before: Vectors | None = None
    for cells, vectors in table.batches():
        if "timestamp_s" not in cells.schema.names:
            raise click.ClickException("the table has no column timestamp_s: a timeline is of a video's frames")
        times += cells.column("timestamp_s").to_pylist()
        with_before = vectors if before is None else np.concatenate([before, vectors])
        directions = _directions(with_before)
        steps = 1 - np.einsum("ij,ij->i", directions[1:], directions[:-1]).astype(np.float64)
        distances.append(np.concatenate([[0.0], steps]) if before is None else steps)
        before = vectors[-1:]
    change = np.concatenate(distances) if distances else np.zeros(0)
    return Change(times_s=np.array(times), distances=change, cuts=cuts_in(change, sensitivity=sensitivity))


_AROUND = 12
_SMALLEST_CUT = 0.02


def cuts_in(distances: npt.NDArray[np.float64], *, sensitivity: float) -> list[int]:
    """Find the frames where another scene begins: their change stands out from that of the frames around them.

    Args:
        distances: of each frame from the one before.
        sensitivity: how many times the median of the frames around a change has to be.
    """
    cuts = []
    for number in range(1, len(distances)):
        around = distances[max(1, number - _AROUND) : number + _AROUND + 1]
        usual = float(np.median(around))
        highest = distances[number] == around.max()
        if highest and distances[number] >= max(_SMALLEST_CUT, sensitivity * usual):
            cuts.append(number)
    return cuts
