"""[engine]: what computes, where and how exactly."""

from pathlib import Path

import click

from nasfeat_server.cli.settings.option import Options, setting
from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.choice import AUTO, ENGINES, PRECISIONS
from nasfeat_server.engine.devices import available_devices

_DEFAULTS = ServerConfig()
_SECTION = "engine"

ENGINE: Options = (
    setting(
        _SECTION,
        "--devices",
        default="auto",
        metavar="LIST",
        help="One replica each: cpu:0,cpu:1 share the cores, gpu:0,gpu:1 take a GPU each; 'auto' takes every GPU, or "
        "cpu:0 if there is none.",
    ),
    setting(
        _SECTION,
        "--engine",
        type=click.Choice([AUTO, *ENGINES]),
        default=_DEFAULTS.engine,
        help="What computes; 'auto' takes the fastest that is installed, 'fake' computes nothing and measures what "
        "serving costs.",
    ),
    setting(
        _SECTION,
        "--precision",
        type=click.Choice(PRECISIONS),
        default=_DEFAULTS.precision,
        help="The arithmetic: every engine has fp32; openvino int8 and, where the processor does, bf16; tensorflow "
        "bf16, and fp16 on GPUs.",
    ),
    setting(
        _SECTION,
        "--calibration",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="Pictures of the kind that will come, some dozens: half of them calibrate another precision than fp32, on "
        "the others it is held against fp32.",
    ),
    setting(
        _SECTION,
        "--precision-floor",
        type=click.FloatRange(0, 1),
        default=_DEFAULTS.precision_floor,
        help="The mean cosine to fp32's feature vectors below which another precision is refused.",
    ),
    setting(_SECTION, "--xla", is_flag=True, help="Let TensorFlow compile its graph with XLA: for GPUs, slow on CPUs."),
)


def device_names(devices: str) -> tuple[str, ...]:
    """Read the value of `--devices`."""
    return available_devices() if devices == "auto" else tuple(devices.split(","))
