"""A progress bar on stderr, for people at a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import rich.progress
from rich.console import Console
from rich.text import Text


class Progress:
    """A bar to advance."""

    def __init__(self, bars: rich.progress.Progress, total: int | None) -> None:
        self._bars = bars
        self._task = bars.add_task("frames", total=total)

    def advance(self) -> None:
        """Count one more frame."""
        self._bars.advance(self._task)


class _Rate(rich.progress.ProgressColumn):
    """Frames a second."""

    def render(self, task: rich.progress.Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def shown_progress(total: int | None, *, quiet: bool) -> Iterator[Progress]:
    """Show frames, rate and time to go while the block runs, unless `quiet` or stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        _Rate(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bars:
        yield Progress(bars, total)
