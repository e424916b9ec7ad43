"""Options that several commands have."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_PEM = click.Path(path_type=Path, dir_okay=False, exists=True)
_SESSION = (
    click.option(
        "-t",
        "--target",
        envvar="NASFEAT_TARGET",
        show_envvar=True,
        default="localhost:50051",
        show_default=True,
        metavar="HOST:PORT[,...]",
        help="The server, or several of the same model.",
    ),
    click.option(
        "--model",
        "version",
        default="",
        metavar="NAME",
        help="The version of the model: 'canary', or a version's name.  [default: the stable one]",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds that a call, or the opening of a stream, may take.",
    ),
    click.option(
        "--tls", is_flag=True, help="Speak TLS, and trust whom gRPC trusts; the other --tls options imply it."
    ),
    click.option("--tls-ca", type=_PEM, help="Who is trusted to sign the server's certificate, PEM."),
    click.option("--tls-cert", type=_PEM, help="The client's own certificate, PEM; with --tls-key."),
    click.option("--tls-key", type=_PEM, help="Its key, PEM."),
    click.option("--token-file", type=_PEM, help="A file with the token to send.  [default: what NASFEAT_TOKEN has]"),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and no progress."),
)
_DESTINATION = (
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        default="features.parquet",
        show_default=True,
        help="The table to write, replaced only when all is done; its ending tells the format: .parquet, .npz, .jsonl, "
        ".arrow. A dash is stdout: an Arrow stream, or JSON lines.",
    ),
    click.option(
        "--format",
        "table_format",
        type=click.Choice(["parquet", "npz", "jsonl", "arrow"]),
        help="The format, if the name of the output does not tell.",
    ),
    click.option(
        "--outputs",
        multiple=True,
        metavar="NAME",
        help="An output to write instead of the feature vector; repeat it for several. `nasfeat model` lists them.",
    ),
)

_CLUSTER = (
    click.option(
        "--on",
        metavar="ADDRESS",
        help="Have a Ray cluster read, extract and write: ray://HOST:PORT, or 'ray' for the cluster that RAY_ADDRESS "
        "names or this machine belongs to, else one of this machine alone. Sources and output may be URIs of object "
        "stores (s3://, gs://, abfs://); the output is a folder of Parquet files. Pictures go to the servers that "
        "--target names; without it, nodes hold engines. What follows is for --on alone.",
    ),
    click.option(
        "--weights", metavar="SOURCE", help="Of engines on the nodes, as of nasfeat-server.  [default: published]"
    ),
    click.option(
        "--variant", metavar="NAME", help="The network: large, mobile, cifar.  [default: what the weights say]"
    ),
    click.option("--engine", metavar="NAME", help="tensorflow, openvino, jax.  [default: the fastest on the device]"),
    click.option("--crop", metavar="POLICY", help="stretch, letterbox, center_crop:FRACTION.  [default: stretch]"),
    click.option(
        "--batch-size",
        type=click.Choice([str(1 << power) for power in range(11)]),
        callback=lambda _context, _parameter, value: value and int(value),
        metavar="NUMBER",
        help="Pictures computed at once, a power of two.  [default: 4]",
    ),
    click.option(
        "--replicas",
        type=click.IntRange(min=1),
        help="Actors that hold an engine or ask servers.  [default: one for each GPU, or for each node]",
    ),
    click.option("--replica-cpus", type=click.FloatRange(min=0), help="Cores set aside for each.  [default: 1]"),
    click.option(
        "--replica-gpus",
        type=click.FloatRange(min=0),
        help="GPUs set aside for each.  [default: 1 for engines, where the cluster has GPUs]",
    ),
    click.option("--part-size", type=click.IntRange(min=1), help="Pictures in a file, at most.  [default: 256]"),
    click.option("--quiet", is_flag=True, help="Show no progress."),
)


def with_cluster(command: Command) -> Command:
    """Add the options of a `Cluster`."""
    return _with(command, _CLUSTER)


def with_session(command: Command) -> Command:
    """Add the options of a `Session`."""
    return _with(command, _SESSION)


def with_destination(command: Command) -> Command:
    """Add the options of a `Destination`."""
    return _with(command, _DESTINATION)


def _with(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def rate(context: click.Context, parameter: click.Parameter, value: str | None) -> Fraction | None:
    """Read a positive number, exactly: 29.97 is not a binary float.

    Raises:
        click.BadParameter: it is none.
    """
    if value is None:
        return None
    try:
        number = Fraction(value)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        problem = f"{value!r} is not a number over 0, like 2, 29.97 or 30000/1001"
        raise click.BadParameter(problem, context, parameter)
    return number


def key_values(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read KEY=VALUE pairs.

    Raises:
        click.BadParameter: one has no equals sign.
    """
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE", context, parameter)
    return dict(value.split("=", 1) for value in values)
