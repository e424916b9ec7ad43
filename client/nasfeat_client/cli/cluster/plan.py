"""What is to be done: every picture once, in parts of which each becomes one file."""

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import PurePosixPath

import click
from pyarrow import fs as arrow_fs

from nasfeat_client.cli.cluster.locations import Location, Storage, access_explained
from nasfeat_client.cli.pictures.archives import TAR_SUFFIXES, ZIP_SUFFIXES
from nasfeat_client.cli.pictures.picture import is_picture
from nasfeat_client.cli.tables.parts import Names

LIST_SUFFIXES = (".list", ".lst", ".txt")
_PATTERN = re.compile(r"[*?[]")
# A part travels between nodes as one block.
_MOST_PART_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Item:
    """A picture to be read.

    Attributes:
        location: where it is.
        nbytes: its size; 0 if that is not known.
    """

    location: Location
    nbytes: int = 0


def items_of(sources: Sequence[str]) -> Iterator[Item]:
    """Give the pictures that `sources` stand for, each folder's in the order of their names.

    A source is a picture, a folder or a prefix of an object store with all below it, a pattern ('s3://bucket/**/*.jpg'),
    or a list of paths and URIs (.txt).

    Raises:
        click.ClickException: there is nothing at a source, or it cannot be read.
    """
    for source in sources:
        if source.endswith((*TAR_SUFFIXES, *ZIP_SUFFIXES)):
            raise click.UsageError(f"{source}: archives are read by the command alone, without --on")
        location = Location.parse(source)
        if source.endswith(LIST_SUFFIXES):
            yield from _listed(location)
        else:
            yield from _found(location)


def parts_of(items: Iterable[Item], done: AbstractSet[str], most: int) -> Iterator[list[Item]]:
    """Share out the pictures that are not done, each once, in parts of `most` and, if sizes are known, 256 MiB."""
    seen: set[str] = set()
    part: list[Item] = []
    nbytes = 0
    for item in items:
        name = item.location.name
        if name in done or name in seen:
            continue
        seen.add(name)
        if part and (len(part) == most or nbytes + item.nbytes > _MOST_PART_BYTES):
            yield part
            part, nbytes = [], 0
        part.append(item)
        nbytes += item.nbytes
    if part:
        yield part


def part_name(names: Iterable[str]) -> str:
    """Name a part by the pictures in it and their order, and by nothing else: made again, it has the same name."""
    digest = Names()
    for name in names:
        digest.add(name)
    return f"part-{digest.digest()}"


def _listed(location: Location) -> Iterator[Item]:
    with access_explained(f"read {location.name}"):
        lines = Storage(location).read(location).decode(errors="surrogateescape").splitlines()
    yield from (Item(Location.parse(line)) for line in lines if line)


def _found(location: Location) -> Iterator[Item]:
    storage = Storage(location)
    with access_explained(f"read {location.name}"):
        described = storage.described(location)
        if described.type == arrow_fs.FileType.Directory:
            yield from _below(storage, location)
        elif described.type == arrow_fs.FileType.NotFound and _PATTERN.search(location.path):
            yield from _matching(storage, location)
        elif described.type == arrow_fs.FileType.NotFound and not is_picture(location.path):
            raise click.ClickException(f"there is nothing at {location.name}")
        else:
            # One that is not there is told like all that cannot be read.
            yield Item(location, described.size or 0)


def _below(storage: Storage, folder: Location) -> Iterator[Item]:
    found = [info for info in storage.below(folder) if info.type == arrow_fs.FileType.File]
    start = len(storage.path(folder).rstrip("/")) + 1
    for info in sorted(found, key=lambda info: str(info.path)):
        if is_picture(info.path[start:]):
            yield Item(storage.location(info.path), info.size or 0)


def _matching(storage: Storage, pattern: Location) -> Iterator[Item]:
    from fsspec.utils import glob_translate  # noqa: PLC0415 - it comes with the extra

    parts = PurePosixPath(pattern.path).parts
    fixed = list(parts[: next(at for at, part in enumerate(parts) if _PATTERN.search(part))])
    fits = re.compile(glob_translate(pattern.path))
    folder = Location(pattern.root, str(PurePosixPath(*fixed)), pattern.query)
    found = [item for item in _below(storage, folder) if fits.fullmatch(item.location.path)]
    if not found:
        raise click.ClickException(f"no picture fits {pattern.name}")
    yield from found
