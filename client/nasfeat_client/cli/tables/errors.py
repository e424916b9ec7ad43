"""The images of a run that failed: a file of JSON lines beside the table."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from nasfeat_client.cli.tables.place import explained, reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemError:
    """An image that was not answered.

    Attributes:
        name: its path, or "frame" and its number.
        reason: the kind of failure, e.g. "INVALID_IMAGE".
        message: what was wrong.
    """

    name: str
    reason: str
    message: str


def errors_path(table: Path) -> Path:
    """Give where the errors of a table are."""
    return table.with_name(f"{table.name}.errors.jsonl")


def write_errors(table: Path, errors: Iterable[ItemError]) -> int:
    """Write `errors` beside `table`, in the place of those of a run before; without any there is no file.

    Returns:
        How many there are.

    Raises:
        click.ClickException: they cannot be written.
    """
    path = errors_path(table)
    count = 0
    with reserved(path) as place, explained(path):
        with place.temporary.open("wb") as file:
            for error in errors:
                file.write(orjson.dumps(asdict(error), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
        if count:
            place.fill()
        else:
            path.unlink(missing_ok=True)
    return count
