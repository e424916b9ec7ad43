"""The options that say which network, shared by the commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--weights",
        default="published",
        metavar="SOURCE",
        help="'published' (the variant's TF-Hub module, else TF-Slim's checkpoint, else Keras' file), hub:HANDLE, a "
        "path or URL of a module, a TF-Slim checkpoint or a Keras file, or random:SEED for an untrained network.",
    ),
    click.option(
        "--variant",
        metavar="NAME",
        help="large, mobile, cifar, or a .json file with a NetworkSpec.  [default: what the module says, or large]",
    ),
    click.option(
        "--keras-wiring",
        is_flag=True,
        help="Pad the reduction cells' poolings as keras.applications does, and not as the original.",
    ),
    click.option(
        "--cache",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where downloads are kept; TF-Hub's own are in TFHUB_CACHE_DIR.  [default: the user's cache directory]",
    ),
)


def network_options(command: _Command) -> _Command:
    """Add `--weights`, `--variant`, `--keras-wiring` and `--cache` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
