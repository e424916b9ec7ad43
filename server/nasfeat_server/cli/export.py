"""`nasfeat-server export`: the network as a module for other programs."""

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import click

from nasfeat_server.cli.settings.model import MODEL
from nasfeat_server.cli.settings.option import with_options
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.export import Form, check_target, write_module
from nasfeat_server.network.export.verify import check_runner, differences
from nasfeat_server.network.weights import Located, Weights
from nasfeat_server.network.weights.locate import locate

_TOLERANCE = 1e-4

_USES: Mapping[Form, tuple[str, ...]] = MappingProxyType(
    {
        "hub": ("nasfeat-server --weights {0}", 'hub.load("{0}").signatures["image_feature_vector"](images)'),
        "savedmodel": ("nasfeat-server --weights {0}", 'hub.KerasLayer("{0}", trainable=True)'),
        "onnx": ('onnxruntime.InferenceSession("{0}/model.onnx").run(["global_pool"], {{"images": images}})',),
        "openvino": ('openvino.Core().compile_model("{0}/model.xml")({{"images": images}})["global_pool"]',),
    }
)


@click.command
@with_options(MODEL)
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Form)),
    required=True,
    help="hub: TF1 Hub's format, as the published module's. savedmodel: TF2's, which hub.KerasLayer fine-tunes. onnx: "
    "one file for ONNX Runtime and others. openvino: OpenVINO's intermediate representation.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="PATH", help="The directory to make.")
@click.option("--overwrite", is_flag=True, help="Replace the module that is at PATH, once the new one is complete.")
@click.option(
    "--verify/--no-verify", default=True, help="Run the module on made-up images and compare it to the network."
)
def export(
    *,
    weights: str,
    variant: str | None,
    keras_wiring: bool,
    cache: Path | None,
    form: Form,
    output: Path,
    overwrite: bool,
    verify: bool,
) -> None:
    """Write the network as a module for other programs.

    Every form takes `images`, float32 [N, size, size, 3] of 0..1. The modules of TensorFlow hold the variables as they
    are, and are weights for this server too; in the others, batch normalisation is folded into the convolutions.
    Nothing is left at PATH unless all went well.
    """
    try:
        check_target(output, form=form, overwrite=overwrite)
        if verify:
            check_runner(form)
        click.echo(f"Loading {weights} ...")
        located = locate(weights, variant, keras_wiring=keras_wiring, report=click.echo, cache_dir=cache)
        loaded = _read(located)
        click.echo(f"Writing {output} ...")
        check = functools.partial(_verify, loaded, form) if verify else None
        write_module(loaded, output, form=form, overwrite=overwrite, verify=check)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error}") from error
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    click.echo(f"Wrote {output}, {size / 1e6:.1f} MB. To use it:")
    for use in _USES[form]:
        click.echo(f"  {use.format(output)}")


def _read(located: Located) -> Weights:
    from nasfeat_server.network.weights.read import read_weights  # noqa: PLC0415 - brings TensorFlow

    weights = read_weights(located)
    count = sum(array.size for array in weights.variables.values())
    kind = "trained" if weights.trained else "UNTRAINED"
    head = f"{weights.spec.num_classes} classes" if weights.has_classifier else "no classifier"
    click.echo(f"Loaded {weights.spec.name}: {count:,} {kind} parameters, {head}, {weights.digest[:19]}")
    return weights


def _verify(weights: Weights, form: Form, directory: Path) -> None:
    click.echo("Verifying ...")
    found = differences(weights, directory, form)
    listed = ", ".join(f"{name} {difference:.1e}" for name, difference in found.items())
    # Not "over the tolerance": a difference that is no number must fail too.
    if not all(difference <= _TOLERANCE for difference in found.values()):
        raise click.ClickException(
            f"the module computes something else than the network; relative L2 differences: {listed}, "
            f"and at most {_TOLERANCE} is allowed; nothing was written"
        )
    click.echo(f"Verified; relative L2 difference to the network: {listed}")
