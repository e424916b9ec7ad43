"""A fine-tuning from its data to its module."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.export import check_target, require, write_module
from nasfeat_server.network.training.callbacks import Keeper, Rate, Rates, accuracy
from nasfeat_server.network.training.options import Job, Recipe
from nasfeat_server.network.training.pictures import Decoder, Picture, Report, find_files, identify, read_pictures
from nasfeat_server.network.training.pipeline import GONE, Batches
from nasfeat_server.network.training.progress import Shown, progress_bar
from nasfeat_server.network.training.scalars import Scalars
from nasfeat_server.network.training.schedule import batch_norm_decay, learning_rates
from nasfeat_server.network.training.split import Split, check_apart, check_classes, split
from nasfeat_server.network.training.state import Position, Saved, WorkDirectory
from nasfeat_server.network.training.trainable import (
    check_recipe,
    heads,
    inference_variables,
    keeps_classifier,
    trainable_model,
)
from nasfeat_server.network.weights import Weights, digest, load_weights
from nasfeat_server.network.weights.locate import locate
from nasfeat_server.network.weights.read import read_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a fine-tuning, measured on the exported weights as the server uses them.

    Attributes:
        weights: as exported.
        training_accuracy: the share of the training pictures that are classified right.
        validation_accuracy: the same of the pictures held back; None if there are none.
    """

    weights: Weights
    training_accuracy: float
    validation_accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """All that is fixed before the first step."""

    recipe: Recipe
    weights: Weights
    labels: tuple[str, ...]
    training: tuple[Picture, ...]
    validation: tuple[Picture, ...]
    batches: Batches

    @property
    def steps(self) -> int:
        """Training steps in an epoch."""
        return len(self.training) // self.batches.batch_size

    @property
    def decay(self) -> float:
        """Of the moving statistics."""
        return batch_norm_decay(self.recipe, self.weights.spec, self.recipe.epochs * self.steps)

    def terms(self) -> dict[str, Any]:
        """Name all that the result depends on, for `WorkDirectory.agree`."""
        options = {f"--{name.replace('_', '-')}": value for name, value in dataclasses.asdict(self.recipe).items()}
        return {
            **options,
            "the digest of the pictures": identify(self.labels, self.training, self.validation),
            "the digest of the weights": self.weights.digest,
            "the network": dataclasses.asdict(self.weights.spec),
        }


def fine_tune(job: Job, recipe: Recipe, *, decode: Decoder, console: Console) -> Result:
    """Train, and write the module; go on with a run that was stopped, if there is one in the work directory.

    Args:
        job: where everything is.
        recipe: how to train.
        decode: from the bytes of a picture to pixels, as the server decodes.
        console: is told the progress.

    Raises:
        ConfigurationError: something is wrong with the data, the weights, the options or the places; or the training
            came to nothing. The message says what is allowed.
    """

    def report(line: str) -> None:
        console.print(line, soft_wrap=True)

    require("tensorboard", extra="train", purpose="to log the training")
    with WorkDirectory(job.work) as work:
        if not work.begun:
            check_target(job.output, form=job.form, overwrite=job.overwrite)
        plan = _plan(job, recipe, decode, report)
        rates = learning_rates(recipe, plan.steps)
        _announce(plan, report)
        work.agree(plan.terms())
        keras.utils.set_random_seed(recipe.seed)
        model = trainable_model(plan.weights, plan.labels, recipe, decay=plan.decay)
        _train(model, plan, rates, job, console)
        result = _measured(model, plan, job)
        _export(result.weights, job)
        work.end()
    return result


def _plan(job: Job, recipe: Recipe, decode: Decoder, report: Report) -> _Plan:
    labels, files = find_files(job.data)
    located = locate(job.weights, job.variant, keras_wiring=job.keras_wiring, report=report, cache_dir=job.cache)
    check_recipe(located.spec, recipe)
    size = located.spec.image_size
    pictures = read_pictures(files, decode, size, skip_unreadable=job.skip_unreadable, report=report)
    check_classes(labels, pictures)
    training, validation = _parted(job, labels, pictures, decode, size, report)
    batches = Batches(
        decode=decode,
        size=size,
        classes=len(labels),
        heads=heads(recipe),
        batch_size=min(recipe.batch_size, len(training)),
    )
    return _Plan(
        recipe=recipe,
        weights=read_weights(located),
        labels=labels,
        training=training,
        validation=validation,
        batches=batches,
    )


def _parted(
    job: Job, labels: tuple[str, ...], pictures: tuple[Picture, ...], decode: Decoder, size: int, report: Report
) -> Split:
    if isinstance(job.validation, float):
        return split(pictures, job.validation)
    _, files = find_files(job.validation, labels)
    validation = read_pictures(files, decode, size, skip_unreadable=job.skip_unreadable, report=report)
    if not validation:
        raise ConfigurationError(f"{job.validation} holds no picture to validate with")
    check_apart(pictures, validation)
    return pictures, validation


def _train(model: keras.Model, plan: _Plan, rates: Rates, job: Job, console: Console) -> None:
    """Train to the end, and leave the best weights in `model`."""
    recipe, steps = plan.recipe, plan.steps
    saved = Saved(job.work, model)
    position = saved.restore() or Position()
    if position.step:
        epoch, done = divmod(position.step, steps)
        console.print(f"going on with the run in {job.work}: {epoch} epochs and {done} steps are done", soft_wrap=True)
    keeper = Keeper(saved, position, steps_per_epoch=steps, patience=recipe.patience, every_s=job.checkpoint_s)
    with progress_bar(console) as bar:
        size, step = plan.batches.batch_size, position.step
        shown = Shown(bar, epochs=recipe.epochs, steps_per_epoch=steps, batch_size=size, step=step)
        _fit(model, plan, keeper, [Rate(rates, step), Scalars(job.logs, step), shown, keeper])
    if best := keeper.position.best_epoch:
        console.print(f"the validation loss was lowest after epoch {best}: these weights are kept", soft_wrap=True)
        saved.restore_best(best)


def _fit(model: keras.Model, plan: _Plan, keeper: Keeper, callbacks: list[keras.callbacks.Callback]) -> None:
    recipe, steps = plan.recipe, plan.steps
    validation = plan.batches.evaluation(plan.validation) if plan.validation else None
    for epochs, skipped in _legs(keeper.position.step, steps, recipe.epochs):
        if keeper.position.finished:
            break
        batches = plan.batches.training(
            plan.training, epochs=epochs, skip_steps=skipped, seed=recipe.seed, changed=recipe.augment
        )
        with _told_plainly():
            model.fit(
                batches,
                epochs=epochs.stop,
                initial_epoch=epochs.start,
                steps_per_epoch=steps - skipped,
                validation_data=validation,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )


def _legs(step: int, steps_per_epoch: int, epochs: int) -> Iterator[tuple[range, int]]:
    """Give the epochs to train in one go, and how many steps of the first are done: one begun must be ended first."""
    epoch, done = divmod(step, steps_per_epoch)
    if done:
        yield range(epoch, epoch + 1), done
        epoch += 1
    if epoch < epochs:
        yield range(epoch, epochs), 0


@contextlib.contextmanager
def _told_plainly() -> Iterator[None]:
    """Say what TensorFlow's errors mean, where it is known."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise ConfigurationError("the device has too little memory: lower --batch-size") from error
    except tf.errors.InvalidArgumentError as error:
        told = next((line for line in str(error).splitlines() if GONE in line), None)
        if told is None:
            raise
        raise ConfigurationError(told) from error


def _announce(plan: _Plan, report: Report) -> None:
    spec, steps = plan.weights.spec, plan.steps
    if not plan.weights.trained:
        report(f"the weights to start from are {plan.weights.source}: untrained")
    kept = "kept" if keeps_classifier(plan.weights, plan.labels) else "new"
    report(f"{spec.name} with a {kept} classifier of {len(plan.labels)} classes: {', '.join(plan.labels)}")
    report(
        f"{len(plan.training)} pictures to train on and {len(plan.validation)} to validate with; {steps} steps of "
        f"{plan.batches.batch_size} pictures in each of {plan.recipe.epochs} epochs; moving statistics decay by "
        f"{plan.decay:.4g}"
    )
    if not plan.validation:
        report("without validation, training goes on to the last epoch, and its weights are kept")


def _measured(model: keras.Model, plan: _Plan, job: Job) -> Result:
    variables = inference_variables(model)
    weights = Weights(
        variables=variables,
        source=str(job.output),
        trained=True,
        digest=digest(variables),
        spec=dataclasses.replace(plan.weights.spec, num_classes=len(plan.labels)),
        labels=plan.labels,
    )
    return Result(
        weights=weights,
        training_accuracy=_accuracy(model, plan, plan.training),
        validation_accuracy=_accuracy(model, plan, plan.validation) if plan.validation else None,
    )


def _accuracy(model: keras.Model, plan: _Plan, pictures: tuple[Picture, ...]) -> float:
    return accuracy(model.evaluate(plan.batches.evaluation(pictures), verbose=0, return_dict=True))


def _export(weights: Weights, job: Job) -> None:
    if job.output.exists() and not job.overwrite:
        # A run that was killed after it had written the module finds its own.
        check_target(job.output, form=job.form, overwrite=True)
        if load_weights(str(job.output)).digest == weights.digest:
            return
    write_module(weights, job.output, form=job.form, overwrite=job.overwrite)
