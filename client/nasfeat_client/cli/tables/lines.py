"""JSON lines: an object for each image, which programs without Arrow can read as it comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson

from nasfeat_client.cli.tables.place import Place, explained, reserved
from nasfeat_client.cli.tables.row import Likeness, Row


class LinesTable:
    """A line for each image, with its columns and the model's name and digest.

    Args:
        file: where the lines go, each at once.
        place: the file's, if it has one.
    """

    def __init__(self, file: IO[bytes], place: Place | None) -> None:
        self._file = file
        self._place = place
        self._likeness = Likeness()

    def add(self, row: Row) -> None:
        """Take a row; see `Table.add`."""
        self._likeness.check(row)
        model = {"model": row.identity.name, "weights_digest": row.identity.weights_digest}
        # The shortest decimals that are the same float32 again.
        options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        with explained(self._place.path if self._place else "to stdout"):
            self._file.write(orjson.dumps({**row.cells, **row.arrays, **model}, option=options))
            self._file.flush()

    def finish(self) -> None:
        """See `Table.finish`."""
        if self._place:
            self._place.fill()


@contextmanager
def lines_table(path: Path) -> Iterator[LinesTable]:
    """Open a table that will be at `path`.

    Raises:
        click.ClickException: it cannot be written.
    """
    with reserved(path) as place, place.temporary.open("wb") as file:
        yield LinesTable(file, place)
