"""A Parquet file in parts, so that a run that was killed can go on: each part is complete, or not there."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from nasfeat_client.cli.tables.arrow import batch_of, identity_in, is_full, rows_in_full, schema_of, shapes_in
from nasfeat_client.cli.tables.errors import ItemError, write_errors
from nasfeat_client.cli.tables.parquet import parquet_writer
from nasfeat_client.cli.tables.place import explained, reserved
from nasfeat_client.cli.tables.row import Likeness, Row

# A kill costs the images since the last part: as many as come in a few seconds.
_PART_S = 10.0
_PART_INPUTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a part holds. It is written after the part's rows, and makes the part count.

    Attributes:
        inputs: images that it accounts for, one behind the other in the order of the run.
        digest: of their names.
        rows: those that were answered.
        errors: the others.
    """

    inputs: int
    digest: str
    rows: int
    errors: Sequence[ItemError]


class Names:
    """A digest of names, one by one."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, name: str) -> None:
        """Take the next name."""
        self._hash.update(name.encode(errors="surrogateescape") + b"\0")
        self.count += 1

    def digest(self) -> str:
        """Give the digest of the names so far."""
        return self._hash.hexdigest()


class Parts:
    """The parts of a run, in a folder beside the file that they will be; see `opened_parts`.

    Attributes:
        folder: where they are.
        records: of the parts that are complete, in order.
    """

    def __init__(self, output: Path, folder: Path) -> None:
        self.records = [_record(path) for path in sorted(folder.glob("*.json")) if path.stem.isdigit()]
        self._output = output
        self.folder = folder
        self._likeness = self._known()
        self._schema: Any = None
        self._start_part()

    @property
    def inputs(self) -> int:
        """Images that are accounted for in complete parts."""
        return sum(record.inputs for record in self.records)

    @property
    def rows(self) -> int:
        """Images with a row in a complete part."""
        return sum(record.rows for record in self.records)

    def add(self, name: str, row: Row) -> None:
        """Take the row of the next image.

        Raises:
            UnexpectedReplyError: it is not like those before.
            click.ClickException: it cannot be written.
        """
        self._likeness.check(row)
        self._rows.append(row)
        self._took(name)

    def fail(self, error: ItemError) -> None:
        """Take note that the next image failed; see `add`."""
        self._errors.append(error)
        self._took(error.name)

    def complete_part(self) -> None:
        """Put what was taken since the last part into one.

        Raises:
            click.ClickException: it cannot be written.
        """
        if not self._names.count:
            return
        record = Record(
            inputs=self._names.count, digest=self._names.digest(), rows=len(self._rows), errors=tuple(self._errors)
        )
        with explained(self.folder):
            if self._rows:
                self._schema = self._schema or schema_of(self._rows[0])
                with parquet_writer(self._rows_of(len(self.records)), self._schema) as writer:
                    writer.write_batch(batch_of(self._rows, self._schema))
                _sync(self._rows_of(len(self.records)))
            _write(self.folder / f"{len(self.records):08}.json", asdict(record))
        self.records.append(record)
        self._start_part()

    def merge(self, advance: Callable[[], None]) -> None:
        """Make the file and that of the errors, and remove the parts.

        Args:
            advance: called after each part.

        Raises:
            click.ClickException: the file cannot be written; the parts stay.
        """
        write_errors(self._output, (error for record in self.records for error in record.errors))
        if self.rows:
            with reserved(self._output) as place, explained(self._output):
                self._write_rows(place.temporary, advance)
                _sync(place.temporary)
                place.fill()
        shutil.rmtree(self.folder)

    def _write_rows(self, path: Path, advance: Callable[[], None]) -> None:
        """Write the rows of all parts in groups that do not tell where the parts ended."""
        schema = pq.read_schema(self._rows_of(self._first_with_rows()))
        group = rows_in_full(sum(field.type.list_size * 4 for field in schema if _is_array(field)))
        with parquet_writer(path, schema) as writer:
            waiting = schema.empty_table()
            for number, record in enumerate(self.records):
                if record.rows:
                    waiting = pa.concat_tables([waiting, pq.read_table(self._rows_of(number), schema=schema)])
                while waiting.num_rows >= group:
                    writer.write_table(waiting.slice(0, group).combine_chunks())
                    waiting = waiting.slice(group)
                advance()
            if waiting.num_rows:
                writer.write_table(waiting.combine_chunks())

    def _took(self, name: str) -> None:
        self._names.add(name)
        late = time.monotonic() - self._began_at >= _PART_S
        if late or self._names.count >= _PART_INPUTS or (self._rows and is_full(self._rows)):
            self.complete_part()

    def _start_part(self) -> None:
        self._names = Names()
        self._rows: list[Row] = []
        self._errors: list[ItemError] = []
        self._began_at = time.monotonic()

    def _known(self) -> Likeness:
        """Hold new rows to those of the parts there are."""
        if not self.rows:
            return Likeness()
        schema = pq.read_schema(self._rows_of(self._first_with_rows()))
        return Likeness(identity_in(schema), shapes_in(schema))

    def _first_with_rows(self) -> int:
        return next(number for number, record in enumerate(self.records) if record.rows)

    def _rows_of(self, number: int) -> Path:
        return self.folder / f"{number:08}.parquet"


@contextmanager
def opened_parts(output: Path, *, settings: object, restart: bool) -> Iterator[Parts]:
    """Open the parts of a run whose result will be at `output`, those there are already among them.

    What was taken when the block ends, in whichever way, is kept; without any part the folder goes.

    Args:
        output: the file.
        settings: what the parts depend on beside the images, as JSON has it.
        restart: throw away the parts there are.

    Raises:
        click.ClickException: the folder cannot be written, another run is at work there, or it is of a run with other
            settings.
    """
    folder = output.with_name(f"{output.name}.parts")
    with reserved(output):
        pass
    with explained(folder), _locked(folder):
        if restart:
            for path in folder.glob("*.*"):
                path.unlink()
        _check_settings(folder, settings)
        parts = Parts(output, folder)
        try:
            yield parts
        finally:
            if folder.exists():
                parts.complete_part()
                if not parts.records:
                    shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(f"another run is at work in {folder}") from None
        yield


def _check_settings(folder: Path, settings: object) -> None:
    path = folder / "run.json"
    if not path.exists():
        _write(path, settings)
    elif (before := json.loads(path.read_text())) != settings:
        raise click.ClickException(
            f"{folder} is of a run with {json.dumps(before)}, not {json.dumps(settings)}; --restart throws it away"
        )


def _record(path: Path) -> Record:
    content = json.loads(path.read_text())
    return Record(**content | {"errors": tuple(ItemError(**error) for error in content["errors"])})


def _write(path: Path, content: object) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content))
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def _is_array(field: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(field.type))


def _sync(path: Path) -> None:
    """Have what was written survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
