"""Files by their path or URI, on a disk and in object stores, as pyarrow and fsspec open them."""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from pyarrow import fs as arrow_fs

# What stands behind a question mark are options of the file system; the keys of objects may have question marks too.
_URI = re.compile(r"(?P<root>[a-zA-Z][a-zA-Z0-9+.-]*://[^/?]*)(?P<path>.*?)(?P<query>\?\w+=[^/]*)?", re.DOTALL)
_LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder, or where one will be.

    Attributes:
        root: "s3://bucket" and the like; "" for this machine's disk.
        path: what comes behind it, with a slash in front; of the disk an absolute path.
        query: options of the file system, as "?region=eu-north-1".
    """

    root: str
    path: str
    query: str = ""

    @classmethod
    def parse(cls, text: str) -> "Location":
        """Read a URI, or a path."""
        found = _URI.fullmatch(text)
        if not found:
            return cls("", str(Path(text).absolute()))
        if found["root"] == "file://":
            return cls("", found["path"])
        return cls(found["root"], found["path"] or "/", found["query"] or "")

    @property
    def name(self) -> str:
        """What it is called in tables: without the options."""
        return self.root + self.path

    def below(self, name: str) -> "Location":
        """Give the file `name` of this folder."""
        return Location(self.root, f"{self.path.rstrip('/')}/{name}", self.query)

    def __str__(self) -> str:
        """Give back what `parse` reads."""
        return self.root + self.path + self.query


class Storage:
    """The file system of one location, and of all with the same root."""

    def __init__(self, location: Location) -> None:
        self._root, self._query = location.root, location.query
        self._files, self._base = _opened(location)

    @property
    def files(self) -> Any:
        """The file system, as pyarrow has it."""
        return self._files

    def path(self, location: Location) -> str:
        """Give what the file system calls `location`."""
        return self._base + location.path

    def location(self, path: str) -> Location:
        """Give the location of what the file system calls `path`."""
        return Location(self._root, path.removeprefix(self._base), self._query)

    def read(self, location: Location, most: int | None = None) -> bytes:
        """Give a file's content, or the first `most` bytes of it.

        Raises:
            OSError: it cannot be read.
        """
        with self._files.open_input_stream(self.path(location)) as file:
            content: bytes = file.read(most)
        return content

    def write(self, location: Location, content: Any) -> None:
        """Put a whole file in its place, which has what it had before until then; the folders are made.

        Raises:
            OSError: it cannot be written.
        """
        path = self.path(location)
        if self._files.type_name == _LOCAL:
            _write_local(Path(path), content)
            return
        # An object is there once its upload is complete.
        with self._files.open_output_stream(path) as file:
            file.write(content)

    def below(self, location: Location) -> list[Any]:
        """Give pyarrow's description of everything in a folder and below it; nothing if it is not there."""
        selector = arrow_fs.FileSelector(self.path(location), recursive=True, allow_not_found=True)
        found: list[Any] = self._files.get_file_info(selector)
        return found

    def described(self, location: Location) -> Any:
        """Give pyarrow's description of what is at `location`."""
        return self._files.get_file_info(self.path(location))

    def delete(self, location: Location) -> None:
        """Delete a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_file(self.path(location))


@contextlib.contextmanager
def access_explained(what: str) -> Iterator[None]:
    """Say what could not be read or written.

    Raises:
        click.ClickException: an `OSError` came, and why.
    """
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"cannot {what}: {why(error)}") from error


def why(error: OSError) -> str:
    """Say why a file could not be had; what pyarrow says of one that is not there is long, and different everywhere."""
    return "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)


def _opened(location: Location) -> tuple[Any, str]:
    """Give the file system of a location, and what stands there before each path."""
    if not location.root:
        return arrow_fs.LocalFileSystem(), ""
    with access_explained(f"open {location.root}"):
        try:
            files, base = arrow_fs.FileSystem.from_uri(f"{location.root}/{location.query}")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            return _opened_by_fsspec(location, error)
    return files, base.rstrip("/")


def _opened_by_fsspec(location: Location, error: Exception) -> tuple[Any, str]:
    """Open what pyarrow does not know; see `_opened`."""
    from fsspec.core import url_to_fs  # noqa: PLC0415 - it comes with the extra, and most need none of it

    try:
        files, base = url_to_fs(location.root)
    except (ValueError, ImportError) as other:
        raise click.ClickException(f"{location.root} cannot be opened: pyarrow: {error}; fsspec: {other}") from other
    return arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(files)), base.rstrip("/")


def _write_local(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of two that write the same, each has a file of its own; what begins with a dot no reader of the folder takes.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
