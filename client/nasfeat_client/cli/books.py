"""Where a run writes what becomes of its images: a table, and the errors beside it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import click

from nasfeat_client.cli.pictures.picture import Picture
from nasfeat_client.cli.progress import Progress
from nasfeat_client.cli.tables.errors import ItemError, write_errors
from nasfeat_client.cli.tables.formats import STDOUT, TableFormat, opened_table
from nasfeat_client.cli.tables.parts import Names, Parts, opened_parts
from nasfeat_client.cli.tables.row import Cell, Row, Table
from nasfeat_client.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a command was told of its output.

    Attributes:
        path: where the table will be; "-" is stdout.
        table_format: how it is written.
        outputs: the outputs wanted, by name; none means the feature vector.
    """

    path: Path
    table_format: TableFormat
    outputs: tuple[str, ...] = ()

    @property
    def on_stdout(self) -> bool:
        """Whether the table goes there."""
        return self.path == STDOUT

    def row(self, result: Result, cells: Mapping[str, Cell]) -> Row:
        """Give the row of one image."""
        arrays = result.outputs if self.outputs else {"features": result.vector}
        return Row(cells=cells, arrays=arrays, identity=result.identity)


class RunBook(Protocol):
    """The outcomes of one run, or of several that go on from each other.

    Attributes:
        destination: where it is written.
        done: images that runs before have accounted for.
        failed: those of them that failed.
    """

    destination: Destination
    done: int
    failed: int

    @property
    def rows(self) -> int:
        """Images with a row by now."""

    def keep(self, name: str, result: Result) -> None:
        """Take an answer."""

    def fail(self, error: ItemError) -> None:
        """Take note of a failure."""

    def remaining(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Give those of all pictures that are still to be done."""

    def finish(self, progress: Progress, *, complete: bool) -> Path | None:
        """Put table and errors in their places; returns the table's, None if there is none.

        Args:
            progress: shows it.
            complete: all images have been dealt with; no failure of the run kept any from it.
        """


@dataclass(kw_only=True)
class TableBook:
    """A table that is written by one run, in any format.

    Attributes:
        cells: gives what tells an image apart, from its name and its result.
    """

    table: Table
    destination: Destination
    cells: Callable[[str, Result], Mapping[str, Cell]]
    done: int = 0
    failed: int = 0
    rows: int = 0
    _errors: list[ItemError] = field(default_factory=list)

    def keep(self, name: str, result: Result) -> None:
        """See `RunBook.keep`."""
        self.table.add(self.destination.row(result, self.cells(name, result)))
        self.rows += 1

    def fail(self, error: ItemError) -> None:
        """See `RunBook.fail`."""
        self._errors.append(error)

    def remaining(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Give all: there was no run before."""
        return pictures

    def finish(self, progress: Progress, *, complete: bool) -> Path | None:
        """See `RunBook.finish`; a run that ended early leaves what it has."""
        del progress, complete
        if self.rows:
            self.table.finish()
        if not self.destination.on_stdout:
            write_errors(self.destination.path, self._errors)
        return self.destination.path if self.rows else None


class PartsBook:
    """A Parquet file that several runs may write one after the other, each from where the last one was ended."""

    def __init__(self, parts: Parts, destination: Destination) -> None:
        self.done = parts.inputs
        self.failed = sum(len(record.errors) for record in parts.records)
        self._parts = parts
        self.destination = destination

    @property
    def rows(self) -> int:
        """See `RunBook.rows`."""
        return self._parts.rows

    def keep(self, name: str, result: Result) -> None:
        """See `RunBook.keep`."""
        self._parts.add(name, self.destination.row(result, name_cells(name, result)))

    def fail(self, error: ItemError) -> None:
        """See `RunBook.fail`."""
        self._parts.fail(error)

    def remaining(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Pass over the pictures that are done.

        Raises:
            click.ClickException: they are not those that the runs before have seen.
        """
        passed = 0
        for record in self._parts.records:
            names = Names()
            for _ in range(record.inputs):
                picture = next(pictures, None)
                names.add(picture.name if picture else "")
            if names.digest() != record.digest:
                raise click.ClickException(
                    f"{self._parts.folder} was begun with other pictures: among those from number {passed} on; "
                    "--restart throws it away"
                )
            passed += record.inputs
        return pictures

    def finish(self, progress: Progress, *, complete: bool) -> Path | None:
        """See `RunBook.finish`; a run that ended early leaves its parts to the next."""
        self._parts.complete_part()
        if not complete:
            self.tell_kept()
            return None
        progress.start("writing", len(self._parts.records))
        rows = self.rows
        self._parts.merge(progress.advance)
        return self.destination.path if rows else None

    def tell_kept(self) -> None:
        """Tell the user what the next run goes on from."""
        if self._parts.records:
            kept = f"{self._parts.inputs} images are kept in {self._parts.folder}"
            click.echo(f"{kept}; the same command goes on from there", err=True)


def picture_book(destination: Destination, *, restart: bool) -> AbstractContextManager[RunBook]:
    """Give the book of a run over pictures: one that can be gone on with where the format allows that."""
    if destination.table_format is TableFormat.PARQUET:
        return _parts_book(destination, restart=restart)
    return table_book(destination, name_cells)


@contextmanager
def _parts_book(destination: Destination, *, restart: bool) -> Iterator[RunBook]:
    settings = {"outputs": list(destination.outputs)}
    with opened_parts(destination.path, settings=settings, restart=restart) as parts:
        book = PartsBook(parts, destination)
        try:
            yield book
        except KeyboardInterrupt:
            parts.complete_part()
            book.tell_kept()
            raise


@contextmanager
def table_book(destination: Destination, cells: Callable[[str, Result], Mapping[str, Cell]]) -> Iterator[RunBook]:
    """Give the book of a run that is written in one go."""
    with opened_table(destination.path, destination.table_format) as table:
        yield TableBook(table=table, destination=destination, cells=cells)


def name_cells(name: str, result: Result) -> Mapping[str, Cell]:
    """Tell a picture by its name."""
    del result
    # Names of files need not be text.
    return {"name": name.encode(errors="surrogateescape").decode(errors="replace")}
