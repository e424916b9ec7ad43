"""Files that are complete, or not there."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click


class Place:
    """Where a file will be, and where it is until then: beside it, under a name of its own.

    Attributes:
        path: its place.
        temporary: where it is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")

    def fill(self) -> None:
        """Move the file to its place.

        Raises:
            click.ClickException: it cannot be moved there.
        """
        with explained(self.path):
            self.temporary.replace(self.path)


@contextmanager
def reserved(path: Path) -> Iterator[Place]:
    """Make sure now that `path` can be written later; what stood there stays until then.

    Raises:
        click.ClickException: it cannot be written.
    """
    place = Place(path)
    with explained(path):
        place.temporary.touch()
    try:
        yield place
    finally:
        place.temporary.unlink(missing_ok=True)


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Say which file could not be written.

    Raises:
        click.ClickException: an `OSError` came, and why.
    """
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from error
