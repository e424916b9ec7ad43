"""What a run leaves in its work directory, so that a killed one goes on where it was."""

import contextlib
import dataclasses
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import filelock
import keras
import tensorflow as tf

from nasfeat_server.errors import ConfigurationError

_TERMS = "run.json"
_LOCK = "lock"
_NEW_TERMS = "run.json.new"
_STATE = "state"
_BEST = "best"
_OURS = frozenset({_TERMS, _NEW_TERMS, _LOCK, _STATE, _BEST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a run is.

    Attributes:
        step: training steps done.
        best_epoch: the number of epochs done when validation was best; 0: none is measured yet.
        best_loss: the validation loss then.
        finished: nothing is left to train.
    """

    step: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    finished: bool = False


class WorkDirectory:
    """A directory that one run at a time works in.

    It holds the terms of the run, which the next one must share to go on, the latest state and the best weights.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = filelock.FileLock(path / _LOCK)
        self._saved = path / _STATE / "checkpoint"  # TensorFlow writes it when a checkpoint is whole

    def __enter__(self) -> Self:
        """Take the directory, making it if need be.

        Raises:
            ConfigurationError: another run has it, or it holds what no run has made.
        """
        if self.path.is_dir() and (foreign := sorted({path.name for path in self.path.iterdir()} - _OURS)):
            raise ConfigurationError(f"{self.path} is no work directory of a fine-tuning: it holds {foreign[0]}")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout as error:
            raise ConfigurationError(f"another run works in {self.path}") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Give the directory back; one in which nothing was saved leaves no trace."""
        if not self.begun:
            for name in (_STATE, _BEST):
                shutil.rmtree(self.path / name, ignore_errors=True)
            for name in (_TERMS, _NEW_TERMS, _LOCK):
                (self.path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what somebody else put there stays
                self.path.rmdir()
        self._lock.release()

    @property
    def begun(self) -> bool:
        """Whether a run has saved its state here and has not ended."""
        return (self.path / _TERMS).exists() and self._saved.exists()

    def agree(self, terms: Mapping[str, Any]) -> None:
        """Write the terms of a run that has saved nothing yet, or hold them against those of the run to go on.

        Args:
            terms: plain values by name; whatever the result depends on.

        Raises:
            ConfigurationError: it lists what differs.
        """
        path = self.path / _TERMS
        if not self.begun:
            new = path.with_name(_NEW_TERMS)
            new.write_text(json.dumps(terms, indent=2))
            new.replace(path)
            return
        begun = json.loads(path.read_text())
        ours = json.loads(json.dumps(terms))
        names = sorted(name for name in begun.keys() | ours.keys() if begun.get(name) != ours.get(name))
        if names:
            lines = [f"\n  {name} was {begun.get(name)}, and is {ours.get(name)}" for name in names]
            raise ConfigurationError(
                f"the run begun in {self.path} cannot go on, since it was told otherwise:{''.join(lines)}\n"
                "give what it was given, or remove that directory to begin anew"
            )

    def end(self) -> None:
        """Let go of what was saved: the run has come to its end."""
        self._saved.unlink()


class Saved:
    """The model, its optimizer and the position, as they are on disk: each saving is whole or has not been."""

    def __init__(self, work: Path, model: keras.Model) -> None:
        self._model = model
        self._position = tf.Variable(tf.zeros((4,), tf.float64))
        everything = [*model.variables, *model.optimizer.variables]
        # Variables by their order in the model, which the terms of the run fix.
        state = tf.train.Checkpoint(variables=[v.value for v in everything], position=self._position)
        best = tf.train.Checkpoint(variables=[v.value for v in model.weights])
        self._state = tf.train.CheckpointManager(state, str(work / _STATE), max_to_keep=1)
        # Two, since a kill may come between a better one and the state that says so.
        self._best = tf.train.CheckpointManager(best, str(work / _BEST), max_to_keep=2)

    def save(self, position: Position) -> None:
        """Save everything."""
        self._position.assign(dataclasses.astuple(position))
        self._state.save(checkpoint_number=position.step)

    def restore(self) -> Position | None:
        """Set everything as it was saved, and say where that was; None if nothing is saved."""
        if not self._state.latest_checkpoint:
            return None
        self._state.checkpoint.restore(self._state.latest_checkpoint).assert_consumed()
        step, best_epoch, best_loss, finished = self._position.numpy()
        return Position(step=int(step), best_epoch=int(best_epoch), best_loss=float(best_loss), finished=bool(finished))

    def save_best(self, epoch: int) -> None:
        """Save the weights alone, as those after `epoch` epochs."""
        self._best.save(checkpoint_number=epoch)

    def restore_best(self, epoch: int) -> None:
        """Set the weights as they were after `epoch` epochs."""
        prefix = f"{os.fspath(self._best.directory)}/ckpt-{epoch}"
        self._best.checkpoint.restore(prefix).assert_consumed()
