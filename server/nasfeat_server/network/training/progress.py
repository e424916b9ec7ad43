"""How far the training is, for whoever looks on: a bar on a terminal, lines elsewhere."""

import time
from collections.abc import Mapping
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nasfeat_server.network.training.callbacks import accuracy, validation_loss

_LINE_EVERY_S = 60.0
_FIELDS: Mapping[str, Any] = {"loss": "", "accuracy": "", "speed": ""}


def progress_bar(console: Console) -> Progress:
    """Make the bar, a context manager; one that is not seen if `console` is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *[TextColumn(f"{{task.fields[{name}]}}") for name in _FIELDS],
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class Shown(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells epoch, step, loss, accuracy, images a second and the time that is left."""

    def __init__(self, bar: Progress, *, epochs: int, steps_per_epoch: int, batch_size: int, step: int) -> None:
        """Go on from `step` of all steps, on a `bar` that is shown."""
        super().__init__()
        self._bar = bar
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._step = step
        self._told = time.monotonic()
        self._task = bar.add_task("preparing", total=epochs * steps_per_epoch, completed=step, **_FIELDS)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Move the bar; where there is none, write a line a minute."""
        del batch
        self._step += 1
        epoch = -(-self._step // self._steps_per_epoch)
        self._bar.update(self._task, completed=self._step, description=f"epoch {epoch}/{self._epochs}")
        task = self._bar.tasks[0]
        shown: dict[str, Any] = {
            **_described(logs or {}),
            "speed": f"{(task.speed or 0) * self._batch_size:.1f} images/s",
        }
        self._bar.update(self._task, **shown)
        if self._bar.disable and time.monotonic() - self._told > _LINE_EVERY_S:
            self._told = time.monotonic()
            left = "" if task.time_remaining is None else f", {task.time_remaining / 60:.0f} min left"
            self._tell(f"step {self._step}/{task.total:.0f}: {', '.join(shown.values())}{left}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write a line for the epoch, above the bar."""
        self._told = time.monotonic()
        logs = logs or {}
        told = ", ".join(_described(logs).values())
        if (loss := validation_loss(logs)) is not None:
            told += f"; validation: loss {loss:.4f}, accuracy {accuracy(logs, 'val_'):.1%}"
        self._tell(f"epoch {epoch + 1}/{self._epochs}: {told}")

    def _tell(self, line: str) -> None:
        self._bar.console.print(line, soft_wrap=True)


def _described(logs: Mapping[str, float]) -> dict[str, str]:
    return {"loss": f"loss {logs.get('loss', 0):.4f}", "accuracy": f"accuracy {accuracy(logs):.1%}"}
