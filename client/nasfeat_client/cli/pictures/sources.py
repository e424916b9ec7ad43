"""What the arguments of a command stand for."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import cast

import click

from nasfeat_client.cli.pictures.archives import (
    TAR_SUFFIXES,
    ZIP_SUFFIXES,
    tar_pictures,
    tar_stream_pictures,
    zip_names,
    zip_pictures,
)
from nasfeat_client.cli.pictures.picture import Picture, file_picture, is_picture

_LIST_SUFFIXES = (".list", ".lst", ".txt")
STDIN = "-"
# Where tar writes its name in a header, and how compressed files begin.
_TAR_NAME_AT, _TAR_NAME = 257, b"ustar"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


def pictures_of(sources: Sequence[str]) -> Iterator[Picture]:
    """Give the pictures of `sources` one after the other, always in the same order.

    A source is a picture, a folder (with those below it), a pattern, a list of paths (.txt), an archive (.tar, .zip),
    or "-": a list or a tar archive from stdin.

    Raises:
        click.ClickException: an archive or a list cannot be read.
        click.UsageError: a pattern fits nothing.
    """
    for source in sources:
        yield from _pictures_of(source)


def _pictures_of(source: str) -> Iterator[Picture]:
    path = Path(source)
    if source == STDIN:
        yield from _from_stdin()
    elif path.is_dir():
        yield from map(file_picture, _below(source))
    elif source.endswith(TAR_SUFFIXES):
        yield from tar_pictures(path)
    elif source.endswith(ZIP_SUFFIXES):
        yield from zip_pictures(path)
    elif source.endswith(_LIST_SUFFIXES):
        yield from map(file_picture, listed(path))
    elif _is_pattern(source):
        yield from map(file_picture, _matching(source))
    else:
        yield file_picture(source)


def check_sources(sources: Sequence[str]) -> None:
    """Do nothing if each of `sources` could stand for pictures.

    Raises:
        click.UsageError: a pattern fits nothing, or stdin is named twice.
    """
    for source in filter(_is_pattern, sources):
        _matching(source)
    if sources.count(STDIN) > 1:
        raise click.UsageError("stdin can be read once")


def count_of(sources: Sequence[str]) -> int | None:
    """Count the pictures of `sources` by their names; None if that would mean to read them through.

    Raises:
        click.UsageError: a pattern fits nothing.
    """
    counts = [_count_of(source) for source in sources]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _count_of(source: str) -> int | None:
    path = Path(source)
    try:
        if source == STDIN or source.endswith(TAR_SUFFIXES):
            return None
        if path.is_dir():
            return sum(1 for _ in _below(source))
        if source.endswith(ZIP_SUFFIXES):
            return len(zip_names(path))
        if source.endswith(_LIST_SUFFIXES):
            return sum(1 for _ in listed(path))
    except (OSError, ValueError, click.ClickException):
        # Whoever reads it will say what is wrong.
        return None
    return len(_matching(source)) if _is_pattern(source) else 1


def _below(folder: str) -> Iterator[str]:
    """Give the pictures in `folder` and below it: a folder's files before its folders, each by name."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    yield from (entry.path for entry in entries if not entry.is_dir() and is_picture(entry.name))
    for entry in entries:
        # A link to a folder could lead back up.
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from _below(entry.path)


def _is_pattern(source: str) -> bool:
    return glob.has_magic(source) and not Path(source).exists()


def _matching(pattern: str) -> list[str]:
    found = sorted(
        path
        for path in glob.iglob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        if is_picture(Path(path).name)
    )
    if not found:
        raise click.UsageError(f"no picture fits {pattern}")
    return found


def listed(path: Path) -> Iterator[str]:
    """Give the paths in a list.

    Raises:
        click.ClickException: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as lines:
            yield from paths_in(lines)
    except OSError as error:
        raise click.ClickException(f"cannot read {path}: {error.strerror}") from error


def paths_in(lines: Iterable[str]) -> Iterator[str]:
    """Give the paths that stand in lines of their own."""
    for line in lines:
        if path := line.rstrip("\r\n"):
            yield path


def _from_stdin() -> Iterator[Picture]:
    # A BufferedReader, as which typeshed does not know it.
    begin = cast("BufferedReader", sys.stdin.buffer).peek(512)
    if begin.startswith(_COMPRESSED) or begin[_TAR_NAME_AT : _TAR_NAME_AT + len(_TAR_NAME)] == _TAR_NAME:
        yield from tar_stream_pictures(sys.stdin.buffer, "")
    else:
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        yield from map(file_picture, paths_in(sys.stdin))
