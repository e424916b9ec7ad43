"""A fine-tuning as a whole, in this process: going on, ending early, exporting."""

import dataclasses
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.training.options import Job, Recipe
from nasfeat_server.network.training.pictures import Decoder
from nasfeat_server.network.weights import load_weights

if TYPE_CHECKING:
    from tests.training.conftest import Folder, Jobs

    from nasfeat_server.network.training.run import Result

RECIPE = Recipe(epochs=3, batch_size=4, drop_path_keep_prob=0.7, warmup_epochs=0, freeze_up_to="reduction_cell_0")


def tuned(job: Job, recipe: Recipe, decode: Decoder) -> tuple["Result", str]:
    """Run a job; give what came of it and what was said."""
    from nasfeat_server.network.training.run import fine_tune

    said = io.StringIO()
    result = fine_tune(job, recipe, decode=decode, console=Console(file=said))
    return result, said.getvalue()


class Stopped(Exception):  # noqa: N818 - no error: it stands for the power going out
    """Ends a run in the middle."""


class Bench:
    """One model, whose graph is made once, and everything that its training needs, in a directory of its own."""

    def __init__(self, model: Any, start: list[Any], plan: Any, job: Job) -> None:
        self.model = model
        self.plan = plan
        self.job = job
        self.variables = [*model.variables, *model.optimizer.variables]
        self.become(start)

    def become(self, values: Iterable[Any]) -> None:
        """Set every variable of model and optimizer."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    def train(self, work: str = "work", **recipe: Any) -> list[str]:
        """Train to the end and give the lines that were said."""
        from nasfeat_server.network.training import run
        from nasfeat_server.network.training.schedule import learning_rates

        plan = dataclasses.replace(self.plan, recipe=dataclasses.replace(RECIPE, **recipe))
        said = io.StringIO()
        job = dataclasses.replace(self.job, work=self.job.work.with_name(work))
        run._train(self.model, plan, learning_rates(plan.recipe, plan.steps), job, Console(file=said))
        return said.getvalue().splitlines()


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """Keep the model from test to test."""
    return {}


@pytest.fixture
def bench(models: dict[str, Any], folder: "Folder", job: "Jobs", decode: Decoder) -> Bench:
    """Fourteen pictures, some of them held back, and the model as it is before training."""
    import keras

    from nasfeat_server.network.training import run
    from nasfeat_server.network.training.trainable import trainable_model

    one = job(folder(count=7), validation=0.2, checkpoint_s=0.0)
    plan = run._plan(one, RECIPE, decode, print)
    if not models:
        keras.utils.set_random_seed(0)
        model = models["model"] = trainable_model(plan.weights, plan.labels, RECIPE, decay=plan.decay)
        models["start"] = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    return Bench(models["model"], models["start"], plan, one)


def test_a_stopped_run_ends_as_one_that_never_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped within an epoch, it goes on at the same step with the same rate, order, momentum and dropout."""
    from nasfeat_server.network.training import callbacks
    from nasfeat_server.network.training.callbacks import Keeper

    losses = iter((3.0, 2.0, 1.0, 3.0, 2.0, 1.0))  # the last epoch is the best, in both runs
    monkeypatch.setattr(callbacks, "validation_loss", lambda logs: next(losses))
    start = [variable.numpy() for variable in bench.variables]
    bench.train("whole")
    expected = [variable.numpy() for variable in bench.variables]
    bench.become(start)
    ending = Keeper.on_train_batch_end

    def stop(self: Any, batch: int, logs: Any = None) -> None:
        ending(self, batch, logs)
        if self.position.step == 4:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_batch_end", stop)
        with pytest.raises(Stopped):
            bench.train("stopped")
    bench.become(np.ones_like(value) for value in start)  # nothing but what is saved may help
    said = bench.train("stopped")
    assert f"going on with the run in {bench.job.work.with_name('stopped')}: 1 epochs and 1 steps are done" in said
    assert not [line for line in said if line.startswith("epoch 1/3")]
    trained = [index for index, variable in enumerate(bench.variables) if variable.trainable and variable.ndim]
    assert len(trained) > 20
    moved = np.concatenate([np.ravel(expected[index] - start[index]) for index in trained])
    off = np.concatenate([np.ravel(expected[index] - bench.variables[index].numpy()) for index in trained])
    # Sums in another order differ in their last bits, which grow with every step.
    assert np.linalg.norm(off) < 0.01 * np.linalg.norm(moved)


def test_the_best_epoch_is_kept_and_waiting_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training ends when the validation loss has not fallen for so many epochs, with the weights of the lowest one."""
    from nasfeat_server.network.training import callbacks
    from nasfeat_server.network.training.state import Saved

    losses = iter((3.0, 1.0, 2.0, 1.5, 0.1))
    monkeypatch.setattr(callbacks, "validation_loss", lambda logs: next(losses))
    best: list[Any] = []
    saving = Saved.save_best

    def save_best(self: Saved, epoch: int) -> None:
        saving(self, epoch)
        best.append([variable.numpy() for variable in bench.model.weights])

    monkeypatch.setattr(Saved, "save_best", save_best)
    said = bench.train(epochs=9, patience=2)
    assert [line[:9] for line in said[:-1]] == ["epoch 1/9", "epoch 2/9", "epoch 3/9", "epoch 4/9"]
    assert "lowest after epoch 2" in said[-1]
    assert len(best) == 2
    assert all(np.array_equal(v.numpy(), value) for v, value in zip(bench.model.weights, best[1], strict=True))
    again = bench.train(epochs=9, patience=2)
    assert [line[:8] for line in again] == ["going on", "the vali"]


def test_what_is_exported_is_what_was_trained(bench: Bench) -> None:
    """The module is read back bit for bit, with the classes that it is for; the logs are where they shall be."""
    from nasfeat_server.network.training import run

    bench.train(epochs=1)
    result = run._measured(bench.model, bench.plan, bench.job)
    run._export(result.weights, bench.job)
    loaded = load_weights(str(bench.job.output))
    trained = inference_values(bench.model)
    assert loaded.digest == result.weights.digest
    assert all(np.array_equal(loaded.variables[name], value) for name, value in trained.items())
    assert len(loaded.variables) == len(trained)
    assert (loaded.labels, loaded.trained, loaded.spec.num_classes) == (("chelsea", "coffee"), True, 2)
    assert 0 <= result.training_accuracy <= 1
    assert result.validation_accuracy is not None
    assert {path.name for path in bench.job.logs.iterdir()} == {"train", "validation"}


def inference_values(model: Any) -> dict[str, Any]:
    """Read the variables of a model without an auxiliary head."""
    from nasfeat_server.network.model import variables_of

    return {name: variable.numpy() for name, variable in variables_of(model).items()}


def test_places_are_checked_first(folder: "Folder", job: "Jobs", decode: Decoder, tmp_path: Path) -> None:
    """What is at the output stays, and no work directory is begun for what cannot end well."""
    one = job(folder(count=2))
    one.output.mkdir()
    (one.output / "mine").touch()
    with pytest.raises(ConfigurationError, match="is there already"):
        tuned(one, RECIPE, decode)
    with pytest.raises(ConfigurationError, match="is no module that was exported"):
        tuned(dataclasses.replace(one, overwrite=True), RECIPE, decode)
    with pytest.raises(ConfigurationError, match="has no cell 'cell_9'; it has stem, cell_0"):
        tuned(job(one.data, output=tmp_path / "new"), dataclasses.replace(RECIPE, freeze_up_to="cell_9"), decode)
    with pytest.raises(ConfigurationError, match="leaves nothing of 3 epochs"):
        tuned(job(one.data, output=tmp_path / "new"), dataclasses.replace(RECIPE, warmup_epochs=3.0), decode)
    with pytest.raises(ConfigurationError, match="validate with that are trained on as well: 4"):
        tuned(job(one.data, output=tmp_path / "new", validation=one.data), RECIPE, decode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "output", "spec.json"]


def test_a_module_that_the_run_had_written_is_its_own(job: "Jobs", tmp_path: Path, spec_file: Path) -> None:
    """Killed between the module and the end, a run finds what it wrote; a module of other weights stays."""
    from nasfeat_server.network.training.run import _export

    one, weights = job(tmp_path), load_weights("random:0", str(spec_file))
    _export(weights, one)
    _export(weights, one)
    with pytest.raises(ConfigurationError, match="is there already"):
        _export(load_weights("random:1", str(spec_file)), one)
    assert load_weights(str(one.output)).digest == weights.digest


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    """It is told of with what to do, and not saved."""
    from nasfeat_server.network.training.callbacks import Keeper
    from nasfeat_server.network.training.state import Position, Saved

    keeper = Keeper(Saved.__new__(Saved), Position(step=7), steps_per_epoch=9, patience=0, every_s=0)
    with pytest.raises(ConfigurationError, match="the loss is nan after 7 steps: lower the learning rate"):
        keeper.on_train_batch_end(7, {"loss": math.nan})


def test_without_tensorboard_the_extra_is_named(
    folder: "Folder", job: "Jobs", decode: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the command that installs it."""
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'nasfeat\[train\]'"):
        tuned(job(folder(count=2)), RECIPE, decode)
