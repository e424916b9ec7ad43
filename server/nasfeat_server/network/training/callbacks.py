"""What happens beside the steps: the learning rate, the savings, the early end."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.training.state import Position, Saved

Rates = Callable[[int], Any]
"""From the number of steps done to the learning rate of the next."""


class Rate(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the learning rate before each step."""

    def __init__(self, schedule: Rates, step: int) -> None:
        super().__init__()
        self._schedule = schedule
        self._step = step

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Follow the schedule by the number of steps done."""
        del batch, logs
        self.model.optimizer.learning_rate = float(self._schedule(self._step))
        self._step += 1


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves the state, knows the best epoch, and ends the training when nothing gets better.

    Attributes:
        position: how far the run is.
    """

    def __init__(
        self, saved: Saved, position: Position, *, steps_per_epoch: int, patience: int, every_s: float
    ) -> None:
        """Go on from `position`.

        Args:
            saved: where to save.
            position: how far the run is.
            steps_per_epoch: training steps in an epoch.
            patience: epochs without a lower validation loss after which training ends; 0: never.
            every_s: seconds between two savings within an epoch.
        """
        super().__init__()
        self.position = position
        self._saved = saved
        self._steps_per_epoch = steps_per_epoch
        self._patience = patience
        self._every_s = every_s
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count the step, and save when it is time.

        Raises:
            ConfigurationError: the loss is not finite.
        """
        del batch
        loss = (logs or {})["loss"]
        if not math.isfinite(loss):
            raise ConfigurationError(f"the loss is {loss} after {self.position.step} steps: lower the learning rate")
        self.position = dataclasses.replace(self.position, step=self.position.step + 1)
        ends_epoch = self.position.step % self._steps_per_epoch == 0
        if not ends_epoch and time.monotonic() - self._saved_at >= self._every_s:
            self._save()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Take note of the validation, and save."""
        loss = validation_loss(logs or {})
        if loss is not None and loss < self.position.best_loss:
            self._saved.save_best(epoch + 1)
            self.position = dataclasses.replace(self.position, best_epoch=epoch + 1, best_loss=loss)
        waited = epoch + 1 - self.position.best_epoch
        if loss is not None and self._patience and waited >= self._patience:
            self.position = dataclasses.replace(self.position, finished=True)
            self.model.stop_training = True
        self._save()

    def _save(self) -> None:
        self._saved.save(self.position)
        self._saved_at = time.monotonic()


def validation_loss(logs: Mapping[str, float]) -> float | None:
    """Take the loss of the main classifier over the validation pictures; None if there are none."""
    return logs.get("val_logits_loss", logs.get("val_loss"))


def accuracy(logs: Mapping[str, float], prefix: str = "") -> float:
    """Take the accuracy of the main classifier, which Keras names after its output if there are several."""
    return logs.get(f"{prefix}logits_accuracy", logs.get(f"{prefix}accuracy", 0.0))
