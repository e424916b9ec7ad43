"""`nasfeat-server fine-tune`: the network trained further on a folder of pictures."""

import os
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console

from nasfeat_server.cli.settings.model import MODEL
from nasfeat_server.cli.settings.option import with_options
from nasfeat_server.config import RequestLimits
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.types import ImageLimits
from nasfeat_server.network.training.options import Job, Recipe

_RECIPE = Recipe()
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_NEW = click.Path(file_okay=False, path_type=Path)
_POSITIVE = click.FloatRange(min=0, min_open=True)
_SHARE = click.FloatRange(min=0, max=1, max_open=True)


@click.command(name="fine-tune")
@with_options(MODEL)
@click.option(
    "--data", type=_DIRECTORY, required=True, help="A folder of pictures for each class; its name is the label."
)
@click.option("--output", type=_NEW, required=True, metavar="MODULE_DIR", help="The module to make.")
@click.option("--overwrite", is_flag=True, help="Replace the module that is at MODULE_DIR, when the new one is done.")
@click.option(
    "--format", "form", type=click.Choice(["hub", "savedmodel"]), default="hub", help="As in `nasfeat-server export`."
)
@click.option(
    "--validation-split",
    type=_SHARE,
    default=0.15,
    help="The share of pictures that is held back to measure with. A picture's content decides: it stays on its side "
    "when others are added.",
)
@click.option(
    "--validation-data",
    type=_DIRECTORY,
    help="Pictures to measure with, in folders as in --data, in place of --validation-split.",
)
@click.option("--skip-unreadable", is_flag=True, help="Leave out files that are no pictures, else they are refused.")
@click.option("--epochs", type=click.IntRange(min=1), default=_RECIPE.epochs, help="Passes over the pictures.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=_RECIPE.batch_size, help="Pictures in a step; all if fewer."
)
@click.option(
    "--learning-rate",
    type=_POSITIVE,
    default=_RECIPE.learning_rate,
    help="Its highest value, of gradient descent with Nesterov momentum 0.9; it falls along a cosine.",
)
@click.option(
    "--warmup-epochs",
    type=click.FloatRange(min=0),
    help="How long the rate rises from 0.  [default: a tenth of the epochs]",
)
@click.option(
    "--weight-decay",
    type=click.FloatRange(min=0),
    default=_RECIPE.weight_decay,
    help="Of kernels; batch normalisations and biases have none.",
)
@click.option("--clip-norm", type=_POSITIVE, default=_RECIPE.clip_norm, help="The longest a gradient may be.")
@click.option("--label-smoothing", type=_SHARE, default=_RECIPE.label_smoothing, help="Spread over all classes.")
@click.option(
    "--dropout", type=_SHARE, default=_RECIPE.dropout, help="The share of features that the classifier misses."
)
@click.option(
    "--drop-path-keep-prob",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="How often a branch of the last cell is kept; earlier ones more often.  [default: the network's, 0.7 for "
    "large, 1 for mobile]",
)
@click.option(
    "--batch-norm-decay",
    type=_SHARE,
    help="The share of the moving statistics that a step keeps.  [default: 1 - 10 / steps of the training, from 0.9 "
    "to the network's own, 0.9997]",
)
@click.option(
    "--auxiliary/--no-auxiliary", default=_RECIPE.auxiliary, help="Train a second, new head in mid-network along."
)
@click.option(
    "--freeze-up-to",
    metavar="CELL",
    help="The last cell that stays as it is, as cell_11 or reduction_cell_1, or stem.  [default: none]",
)
@click.option("--augment/--no-augment", default=_RECIPE.augment, help="Crop, mirror and colour pictures at random.")
@click.option(
    "--patience",
    type=click.IntRange(min=0),
    default=_RECIPE.patience,
    help="Epochs without a lower validation loss that end the training; 0: never. The best epoch's weights are kept.",
)
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), default=_RECIPE.seed, help="Of all that is random.")
@click.option("--log-dir", type=_NEW, help="For TensorBoard.  [default: MODULE_DIR.logs]")
@click.option(
    "--work-dir",
    type=_NEW,
    help="What a stopped run goes on from; removed when all is done.  [default: MODULE_DIR.work]",
)
@click.option(
    "--checkpoint-minutes",
    type=click.FloatRange(min=0),
    default=10.0,
    help="Save this often within an epoch, beside its end.",
)
def fine_tune(**options: Any) -> None:
    """Train the network further on pictures of your own, and write the result as a module that can be served.

    A run that was stopped, however it was, goes on where it last saved if the same command is given again.
    """
    # Before TensorFlow is imported, which else tells about every kernel that it optimised.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console = Console(stderr=True, highlight=False, markup=False)
    recipe = Recipe(**{name: options.pop(name) for name in Recipe.__dataclass_fields__})
    job = _job(**options)
    try:
        from nasfeat_server.network.training.run import fine_tune as run  # noqa: PLC0415 - brings TensorFlow

        result = run(job, recipe, decode=_decode, console=console)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(str(error)) from error
    told = f"{job.output}: {result.training_accuracy:.1%} of the training pictures are classified right"
    if result.validation_accuracy is not None:
        told += f", {result.validation_accuracy:.1%} of those held back"
    click.echo(told)
    click.echo(f"To serve it:\n  nasfeat-server --weights {job.output}")


def _job(
    *,
    output: Path,
    validation_split: float,
    validation_data: Path | None,
    log_dir: Path | None,
    work_dir: Path | None,
    checkpoint_minutes: float,
    **options: Any,
) -> Job:
    return Job(
        output=output,
        validation=validation_data or validation_split,
        logs=log_dir or output.with_name(f"{output.name}.logs"),
        work=work_dir or output.with_name(f"{output.name}.work"),
        checkpoint_s=60 * checkpoint_minutes,
        **options,
    )


def _decode(data: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Give a picture the pixels that the server would give it."""
    limits = RequestLimits()
    out = np.empty((size, size, 3), np.uint8)
    decode_into(data, out, ImageLimits(max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels))
    return out
