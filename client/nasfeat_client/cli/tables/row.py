"""One image's row, and what all rows of a table have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from nasfeat_client.errors import UnexpectedReplyError
from nasfeat_client.result import Array
from nasfeat_client.types import ModelIdentity

Cell: TypeAlias = str | int | float | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is written of one image.

    Attributes:
        cells: what tells it from the others, by column: its name, its time.
        arrays: its outputs, float32, by column.
        identity: the model that made them.
    """

    cells: Mapping[str, Cell]
    arrays: Mapping[str, Array]
    identity: ModelIdentity

    @property
    def nbytes(self) -> int:
        """The size of its arrays."""
        return sum(array.nbytes for array in self.arrays.values())


class Table(Protocol):
    """A table on its way; in its place once it is finished."""

    def add(self, row: Row) -> None:
        """Take a row, which is like those before.

        Raises:
            UnexpectedReplyError: it is not.
            click.ClickException: there is no room on the disk, for one.
        """

    def finish(self) -> None:
        """Put the table in its place, which held what it held before until now.

        Raises:
            click.ClickException: it cannot be written.
        """


class Likeness:
    """Holds every row to the first: a table has one model, and columns of one shape.

    Args:
        identity: the model of rows that are not seen here.
        shapes: the shapes of their arrays.
    """

    def __init__(
        self, identity: ModelIdentity | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> None:
        self.identity = identity
        self.shapes = shapes

    def check(self, row: Row) -> None:
        """Do nothing if `row` is like the others, or the first.

        Raises:
            UnexpectedReplyError: it is of another model, or has other columns or shapes.
        """
        shapes = {name: array.shape for name, array in row.arrays.items()}
        if self.identity is None or self.shapes is None:
            self.identity, self.shapes = row.identity, shapes
        check_same_model(row.identity, self.identity)
        if shapes != self.shapes:
            raise UnexpectedReplyError(f"an image came with {shapes}, the ones before with {dict(self.shapes)}")


def check_same_model(identity: ModelIdentity, before: ModelIdentity) -> None:
    """Do nothing if vectors of two models compare.

    Raises:
        UnexpectedReplyError: they do not; it names both.
    """
    if _model(identity) != _model(before):
        raise UnexpectedReplyError(f"the model is {_named(identity)}, of the images before it was {_named(before)}")


def _model(identity: ModelIdentity) -> tuple[str, ...]:
    """Give what decides about the values: not the server's version, nor where it found the weights."""
    return identity.name, identity.weights_digest, identity.precision, identity.preprocessing_digest


def _named(identity: ModelIdentity) -> str:
    return " ".join(_model(identity))
