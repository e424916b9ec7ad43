"""The results of a run, as they come."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

import click
import numpy as np

from nasfeat_client.cli.progress import Progress
from nasfeat_client.errors import NasfeatError
from nasfeat_client.result import Result
from nasfeat_client.types import Timings


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


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the images of a run.

    Attributes:
        frame_ids: of the images that were answered.
        timings: the server's, for each of `frame_ids`.
        errors: the other images.
        dropped: images that the stream's own policy gave up.
        ages_s: of those answered with a capture time, how long ago that was.
        stopped_by: what ended the run before its time, if anything did.
        elapsed_s: from the first image sent to the last answer.
    """

    frame_ids: list[int] = field(default_factory=list)
    timings: list[Timings] = field(default_factory=list)
    errors: list[ItemError] = field(default_factory=list)
    dropped: int = 0
    ages_s: list[float] = field(default_factory=list)
    stopped_by: str | None = None
    elapsed_s: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        return bool(self.errors or self.stopped_by)

    def add(self, result: Result, name: str, keep: Callable[[Result], None]) -> None:
        """Take one result: an answer goes to `keep` first, an error is told to the user on stderr."""
        if result.dropped:
            self.dropped += 1
            return
        try:
            result.raise_for_error()
        except NasfeatError as error:
            reason = result.error.reason.name if result.error else "UNKNOWN"
            self.errors.append(ItemError(name=name, reason=reason, message=str(error)))
            click.echo(f"{name}: {error}", err=True)
        else:
            keep(result)
            self.frame_ids.append(result.frame_id)
            self.timings.append(result.timings)
            if result.capture_time:
                self.ages_s.append((datetime.now(UTC) - result.capture_time).total_seconds())

    def mean_timings_s(self) -> dict[str, float]:
        """Give the server's mean seconds for an image, stage by stage."""
        stages = [stage.name for stage in fields(Timings)]
        values = [[getattr(timings, stage) for stage in stages] for timings in self.timings]
        means = np.mean(values, axis=0).tolist() if values else [0.0] * len(stages)
        return {stage.removesuffix("_s"): mean for stage, mean in zip(stages, means, strict=True)}


def tally(results: Iterable[tuple[Result, str]], progress: Progress, keep: Callable[[Result], None]) -> Tally:
    """Take every result with its image's name, and give answers to `keep`.

    What ends them early is noted, so that those before can be used.
    """
    gathered = Tally()
    started_at = time.monotonic()
    try:
        for result, name in results:
            gathered.add(result, name, keep)
            progress.advance()
    except (NasfeatError, click.ClickException) as error:
        gathered.stopped_by = str(error)
        click.echo(f"Error: {error}", err=True)
    gathered.elapsed_s = time.monotonic() - started_at
    return gathered
