"""What every database has to do for features."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import click

from nasfeat_client.cli.vectors import Vectors

ID, DIGEST = "id", "weights_digest"
"""The column that names a row for good, and the one that says which weights made its vector."""

VECTOR = "features"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of a table.

    Attributes:
        ids: names that stay the same when the table is pushed again.
        cells: the other columns: a value for each row.
        vectors: float32 [n, length].
        digest: of the weights that made them.
    """

    ids: Sequence[str]
    cells: Mapping[str, Sequence[Any]]
    vectors: Vectors
    digest: str

    def payload(self, row: int) -> dict[str, Any]:
        """Give a row without its vector."""
        own = {name: values[row] for name, values in self.cells.items()}
        return {ID: self.ids[row], **own, DIGEST: self.digest}


class Store(Protocol):
    """A collection in a database; rows that are put again take the place of those with the same id."""

    def put(self, rows: Rows) -> None:
        """Write `rows`; the collection is made with the first of them.

        Raises:
            click.ClickException: the database refuses them, or has vectors of another length or model there.
        """

    def count(self) -> int:
        """Count the rows of the collection."""

    def close(self) -> None:
        """Disconnect."""


def point_id(name: str) -> str:
    """Give a UUID for databases whose ids are no text: the same for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"nasfeat:{name}"))


def check_same_model(there: str | None, rows: Rows, collection: str) -> None:
    """Do nothing if the rows that are in `collection` have the model of `rows`.

    Raises:
        click.ClickException: they have another one.
    """
    if there is not None and there != rows.digest:
        raise click.ClickException(
            f"{collection} has vectors of the weights {there}, these are of {rows.digest}: they do not compare"
        )


def check_same_length(there: int, rows: Rows, collection: str) -> None:
    """Do nothing if the vectors in `collection` are as long as those of `rows`.

    Raises:
        click.ClickException: they are not.
    """
    if there != rows.vectors.shape[1]:
        raise click.ClickException(f"{collection} has vectors of {there} values, these have {rows.vectors.shape[1]}")
