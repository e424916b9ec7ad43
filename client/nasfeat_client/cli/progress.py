"""A progress bar on stderr, for people at a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import rich.progress
from rich.console import Console
from rich.text import Text


class Progress:
    """A bar to advance."""

    def __init__(self, bars: rich.progress.Progress, total: int | None, done: int) -> None:
        self._bars = bars
        self._task = bars.add_task("frames", total=total, completed=done)

    def advance(self, count: int = 1) -> None:
        """Count one more, or several."""
        self._bars.advance(self._task, count)

    def set_total(self, total: int | None) -> None:
        """Say how many there will be, now that it is known."""
        self._bars.update(self._task, total=total)

    def reset(self, total: int, done: int) -> None:
        """Begin to count, now that it is known how many there are and how many were done before."""
        self._bars.reset(self._task, total=total, completed=done)

    def start(self, what: str, total: int) -> None:
        """Begin a bar below for the next piece of work."""
        self._task = self._bars.add_task(what, total=total)


class _Rate(rich.progress.ProgressColumn):
    """Frames a second."""

    def render(self, task: rich.progress.Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def shown_progress(total: int | None, *, quiet: bool, done: int = 0) -> Iterator[Progress]:
    """Show frames, rate and time to go while the block runs, unless `quiet` or stderr is no terminal.

    Args:
        total: how many there will be, if that is known.
        quiet: show nothing.
        done: how many runs before have done.
    """
    console = Console(stderr=True)
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        _Rate(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bars:
        yield Progress(bars, total, done)
