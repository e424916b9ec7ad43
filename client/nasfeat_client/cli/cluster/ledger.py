"""What a run has done, kept in the folder of its table, so that another one goes on from there.

The folder has the parts of the table, and below `_nasfeat/`, which readers of tables pass over, a record for each part
that counts, the settings of the run, and who is at work. A part is written first and its record after it, by one
process alone: whatever has no record never happened.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import click
import orjson
from pyarrow import fs as arrow_fs

from nasfeat_client.cli.cluster.locations import Location, Storage, access_explained
from nasfeat_client.cli.cluster.plan import part_name
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.cli.tables.row import check_same_model
from nasfeat_client.types import ModelIdentity

_ROOM = "_nasfeat"
_OWN = f"{_ROOM}/run.json"
_OWNER = f"{_ROOM}/owner"
_ERRORS = "_errors.jsonl"
_PART_SUFFIX = ".parquet"
_READERS = 16
# What was not written to its end begins with a dot.
_OF_PART = re.compile(r"\.?part-[0-9a-f]{32}\.(parquet|json)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of the pictures of one part.

    Attributes:
        names: all of them, in order.
        errors: of those that failed.
        model: what made the others; None if there are none.
    """

    names: Sequence[str]
    errors: Sequence[ItemError]
    model: ModelIdentity | None

    @property
    def part(self) -> str:
        """The name of the part."""
        return part_name(self.names)

    @property
    def rows(self) -> int:
        """Pictures with a row."""
        return len(self.names) - len(self.errors)

    @classmethod
    def read(cls, content: bytes) -> "Record":
        """Read what `written` gives."""
        document = orjson.loads(content)
        model = document["model"]
        return cls(
            names=document["names"],
            errors=tuple(ItemError(**error) for error in document["errors"]),
            model=ModelIdentity(**model) if model else None,
        )

    def written(self) -> bytes:
        """Give it as JSON."""
        return orjson.dumps(asdict(self))


def part_location(folder: Location, part: str) -> Location:
    """Give where the rows of a part are."""
    return folder.below(part + _PART_SUFFIX)


class Ledger:
    """The records of a folder; see `open_ledger`.

    Attributes:
        folder: the table.
        model: what made its rows; None as long as there are none.
        done: the names of all pictures that are accounted for.
        errors: of those that failed.
    """

    def __init__(self, folder: Location, storage: Storage, records: Mapping[str, Record]) -> None:
        self.folder = folder
        self.model = next((record.model for record in records.values() if record.model), None)
        self.done = {name for record in records.values() for name in record.names}
        self.errors = [error for record in records.values() for error in record.errors]
        self._storage = storage
        self._parts = set(records)
        self._owner = uuid.uuid4().hex.encode()

    def take_over(self) -> None:
        """Be the one that writes here; whoever was before finds out before it writes again."""
        with self._writing():
            self._storage.write(self.folder.below(_OWNER), self._owner)

    def commit(self, record: Record) -> None:
        """Let a part count, whose rows are written.

        Raises:
            click.ClickException: another run has taken over, the rows are not seen here, or are of another model.
        """
        if record.part in self._parts:
            return
        if twice := self.done.intersection(record.names):
            raise click.ClickException(f"{min(twice)} came in two parts")
        if record.model:
            self.model = self.model or record.model
            check_same_model(record.model, self.model)
        with self._writing():
            self._check_owner()
            self._check_seen(record)
            self._storage.write(self.folder.below(f"{_ROOM}/{record.part}.json"), record.written())
        self._parts.add(record.part)
        self.done.update(record.names)
        self.errors.extend(record.errors)

    def finish(self) -> str | None:
        """Delete what no record vouches for, and write the errors; returns where they are, None without any."""
        place = self.folder.below(_ERRORS)
        with self._writing():
            self._check_owner()
            for part, location in _parts_in(self._storage, self.folder):
                if part not in self._parts:
                    self._storage.delete(location)
            if not self.errors:
                self._storage.delete(place)
                return None
            lines = (orjson.dumps(asdict(error), option=orjson.OPT_APPEND_NEWLINE) for error in self.errors)
            self._storage.write(place, b"".join(lines))
        return place.name

    def _check_owner(self) -> None:
        if self._storage.read(self.folder.below(_OWNER)) != self._owner:
            raise click.ClickException(f"another run is at work in {self.folder.name}: this one ends")

    def _check_seen(self, record: Record) -> None:
        place = part_location(self.folder, record.part)
        if record.rows and self._storage.described(place).type != arrow_fs.FileType.File:
            raise click.ClickException(
                f"a node wrote {place.name}, and it is not there for others: the output must be in an object store, "
                "or on a disk that all nodes share"
            )

    def _writing(self) -> Any:
        return access_explained(f"write {self.folder.name}")


def open_ledger(folder: Location, *, settings: Mapping[str, Any], restart: bool) -> Ledger:
    """Read what runs before have done in `folder`, and take it over.

    Args:
        folder: where the table is, or will be.
        settings: what its columns depend on, as JSON has it.
        restart: throw away what there is.

    Raises:
        click.ClickException: it is of a run with other settings, no table of such a run, or cannot be read or written.
    """
    storage = Storage(folder)
    with access_explained(f"write {folder.name}"):
        _check_folder(storage, folder)
        if restart:
            _clear(storage, folder)
        _check_settings(storage, folder, settings)
        ledger = Ledger(folder, storage, _records(storage, folder))
        ledger.take_over()
    return ledger


def _check_folder(storage: Storage, folder: Location) -> None:
    """Do nothing if the folder is one of ours, or empty, or not there."""
    if storage.described(folder).type == arrow_fs.FileType.File:
        raise click.ClickException(f"{folder.name} is a file; with --on the output is a folder of Parquet files")
    if storage.described(folder.below(_OWN)).type == arrow_fs.FileType.NotFound:
        found = [PurePosixPath(info.path) for info in storage.below(folder) if info.type == arrow_fs.FileType.File]
        foreign = [path for path in found if path.parent.name != _ROOM]
        if foreign:
            raise click.ClickException(f"{folder.name} has other files in it: {min(foreign)}")


def _check_settings(storage: Storage, folder: Location, settings: Mapping[str, Any]) -> None:
    place = folder.below(_OWN)
    if storage.described(place).type == arrow_fs.FileType.NotFound:
        storage.write(place, orjson.dumps(settings))
    elif (before := orjson.loads(storage.read(place))) != settings:
        raise click.ClickException(
            f"{folder.name} is of a run with {json.dumps(before)}, not {json.dumps(settings)}; --restart throws it away"
        )


def _records(storage: Storage, folder: Location) -> dict[str, Record]:
    places = [
        storage.location(info.path)
        for info in storage.below(folder.below(_ROOM))
        if PurePosixPath(info.path).match("part-*.json")
    ]
    with ThreadPoolExecutor(_READERS) as readers:
        records = [Record.read(content) for content in readers.map(storage.read, places)]
    return {record.part: record for record in records}


def _parts_in(storage: Storage, folder: Location) -> Iterator[tuple[str, Location]]:
    """Give every file of a part with the part's name, or its own if it was not written to its end: records first."""
    found = [info.path for info in storage.below(folder) if _OF_PART.match(PurePosixPath(info.path).name)]
    for path in sorted(found, key=lambda path: (not path.endswith(".json"), path)):
        yield PurePosixPath(path).stem, storage.location(path)


def _clear(storage: Storage, folder: Location) -> None:
    for _, location in _parts_in(storage, folder):
        storage.delete(location)
    for name in (_ERRORS, _OWN):
        storage.delete(folder.below(name))
