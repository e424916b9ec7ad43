"""The options that say which network, shared by the commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.choice import AUTO, ENGINES, PRECISIONS
from nasfeat_server.engine.devices import available_devices

_DEFAULTS = ServerConfig()
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

_ENGINE_OPTIONS = (
    click.option(
        "--devices",
        default="auto",
        metavar="LIST",
        help="One replica each: cpu:0,cpu:1 share the cores, gpu:0,gpu:1 take a GPU each; 'auto' takes every GPU, or "
        "cpu:0 if there is none.",
    ),
    click.option(
        "--engine",
        type=click.Choice([AUTO, *ENGINES]),
        default=_DEFAULTS.engine,
        help="What computes; 'auto' takes the fastest that is installed, 'fake' computes nothing and measures what "
        "serving costs.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default=_DEFAULTS.precision,
        help="The arithmetic: every engine has fp32; openvino int8 and, where the processor does, bf16; tensorflow "
        "bf16, and fp16 on GPUs.",
    ),
    click.option(
        "--calibration",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="Pictures of the kind that will come, some dozens: half of them calibrate another precision than fp32, on "
        "the others it is held against fp32.",
    ),
    click.option(
        "--precision-floor",
        default=_DEFAULTS.precision_floor,
        help="The mean cosine to fp32's feature vectors below which another precision is refused.",
    ),
    click.option("--xla", is_flag=True, help="Let TensorFlow compile its graph with XLA: for GPUs, slow on CPUs."),
)


def network_options(command: _Command) -> _Command:
    """Add `--weights`, `--variant`, `--keras-wiring` and `--cache` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def engine_options(command: _Command) -> _Command:
    """Add `--devices`, `--engine`, `--precision`, `--calibration`, `--precision-floor` and `--xla` to a command."""
    for option in reversed(_ENGINE_OPTIONS):
        command = option(command)
    return command


def device_names(devices: str) -> tuple[str, ...]:
    """Read the value of `--devices`."""
    return available_devices() if devices == "auto" else tuple(devices.split(","))
