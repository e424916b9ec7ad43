"""The figures of a training, for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from nasfeat_server.network.training.callbacks import accuracy, validation_loss

_EVERY = 10


class Scalars(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes loss, accuracy and learning rate by training step, and loss and accuracy of the validation likewise.

    Keras' own callback counts from 0 when a run goes on, and knows no steps within an epoch.
    """

    def __init__(self, directory: Path, step: int) -> None:
        """Write below `directory`, which may hold what a run wrote before it was stopped at `step`."""
        super().__init__()
        self._directory = directory
        self._step = step
        self._training = self._validation = tf.summary.create_noop_writer()

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Open the files."""
        del logs
        self._training, self._validation = (
            tf.summary.create_file_writer(str(self._directory / name)) for name in ("train", "validation")
        )

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Close the files."""
        del logs
        self._training.close()
        self._validation.close()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count the step; write every tenth."""
        del batch
        self._step += 1
        if self._step % _EVERY == 0:
            self._write_training(logs or {})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write what the epoch came to."""
        del epoch
        logs = logs or {}
        self._write_training(logs)
        if (loss := validation_loss(logs)) is not None:
            with self._validation.as_default(self._step):
                tf.summary.scalar("loss", loss)
                tf.summary.scalar("accuracy", accuracy(logs, "val_"))
        self._training.flush()
        self._validation.flush()

    def _write_training(self, logs: Mapping[str, float]) -> None:
        with self._training.as_default(self._step):
            tf.summary.scalar("loss", logs["loss"])
            tf.summary.scalar("accuracy", accuracy(logs))
            tf.summary.scalar("learning_rate", self.model.optimizer.learning_rate)
