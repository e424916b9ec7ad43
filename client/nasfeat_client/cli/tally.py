"""The results of a run, as they come."""

import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Protocol

import click

from nasfeat_client.cli.progress import Progress
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.errors import NasfeatError
from nasfeat_client.result import Result
from nasfeat_client.types import ErrorReason, Timings

# What the server could not do, whatever the image. When nothing else comes any more, the run ends: the images that
# follow would only be added to those that failed.
SERVERS_FAULT = frozenset({ErrorReason.OVERLOADED, ErrorReason.SHUTTING_DOWN, ErrorReason.REPLICA_LOST})
_MOST_FAULTS = 16
# All are in the file beside the table; this many are in the JSON document.
_ERRORS_SHOWN = 1000
_STAGES = tuple(stage.name for stage in fields(Timings))


class Book(Protocol):
    """Where the outcome of each image is written."""

    def keep(self, name: str, result: Result) -> None:
        """Take an answer."""

    def fail(self, error: ItemError) -> None:
        """Take note of a failure."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the images of a run: sums, since there may be millions.

    Attributes:
        succeeded: images that were answered.
        failed: images that were not, for a reason of their own.
        errors: the first of those.
        dropped: images that the stream's own policy gave up.
        ages_s: of those answered with a capture time, how long ago that was.
        stopped_by: what ended the run before its time, if anything did.
        elapsed_s: from the first image sent to the last answer.
    """

    succeeded: int = 0
    failed: int = 0
    errors: list[ItemError] = field(default_factory=list)
    dropped: int = 0
    ages_s: "array[float]" = field(default_factory=lambda: array("f"))
    stopped_by: str | None = None
    elapsed_s: float = 0.0
    _stages_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0.0))
    _faults: list[ItemError] = field(default_factory=list)

    @property
    def all_well(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.failed or self.stopped_by)

    def add(self, name: str, outcome: Result | ItemError, book: Book) -> None:
        """Take one outcome: an answer goes to `book`, as does an error, which is told to the user on stderr too.

        Raises:
            click.ClickException: the server has failed for so many images in a row that it is no matter of images.
        """
        if isinstance(outcome, ItemError):
            self._fail(outcome, book)
        elif outcome.dropped:
            self.dropped += 1
        elif outcome.error:
            error = ItemError(name=name, reason=outcome.error.reason.name, message=outcome.error.message)
            if outcome.error.reason in SERVERS_FAULT:
                self._doubt(error)
            else:
                self._fail(error, book)
        else:
            self.settle(book)
            book.keep(name, outcome)
            self.succeeded += 1
            for stage in _STAGES:
                self._stages_s[stage] += getattr(outcome.timings, stage)
            if outcome.capture_time:
                self.ages_s.append((datetime.now(UTC) - outcome.capture_time).total_seconds())

    def settle(self, book: Book) -> None:
        """Let the failures in doubt be those of the images: others were answered after them."""
        faults, self._faults = self._faults, []
        for error in faults:
            self._note(error, book)

    def mean_timings_s(self) -> dict[str, float]:
        """Give the server's mean seconds for an image, stage by stage."""
        return {stage.removesuffix("_s"): total / max(1, self.succeeded) for stage, total in self._stages_s.items()}

    def _fail(self, error: ItemError, book: Book) -> None:
        self.settle(book)
        self._note(error, book)

    def _doubt(self, error: ItemError) -> None:
        self._faults.append(error)
        if len(self._faults) >= _MOST_FAULTS:
            self._faults.clear()
            raise click.ClickException(f"{_MOST_FAULTS} images in a row failed, the last one: {error.message}")

    def _note(self, error: ItemError, book: Book) -> None:
        book.fail(error)
        self.failed += 1
        if len(self.errors) < _ERRORS_SHOWN:
            self.errors.append(error)
        click.echo(f"{error.name}: {error.message}", err=True)


def tally(outcomes: Iterable[tuple[str, Result | ItemError]], progress: Progress, book: Book) -> Tally:
    """Take the outcome of every image with its name, and write it into `book`.

    What ends them early is noted, so that those before can be used.
    """
    gathered = Tally()
    with _timed(gathered):
        try:
            for name, outcome in outcomes:
                gathered.add(name, outcome, book)
                progress.advance()
            gathered.settle(book)
        except (NasfeatError, click.ClickException) as error:
            gathered.stopped_by = str(error)
            click.echo(f"Error: {error}", err=True)
    return gathered


@contextmanager
def _timed(gathered: Tally) -> Iterator[None]:
    started_at = time.monotonic()
    try:
        yield
    finally:
        gathered.elapsed_s = time.monotonic() - started_at
