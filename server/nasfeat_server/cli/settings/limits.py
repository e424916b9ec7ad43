"""[limits]: what one image, call or stream may ask for."""

import click

from nasfeat_server.cli.settings.option import Options, setting
from nasfeat_server.config import RequestLimits

_DEFAULTS = RequestLimits()
_SECTION = "limits"
_MIB = 2**20
_SOME = click.IntRange(min=1)

LIMITS: Options = (
    setting(_SECTION, "--max-window", type=_SOME, default=_DEFAULTS.max_window, help="Frames in flight on one stream."),
    setting(
        _SECTION,
        "--max-streams",
        type=_SOME,
        default=_DEFAULTS.max_streams,
        help="Streams open at once; further ones are refused.",
    ),
    setting(
        _SECTION,
        "--max-waiting-images",
        type=click.IntRange(min=0),
        default=_DEFAULTS.max_waiting_images,
        help="Images of unary calls that may wait for room; further ones are refused.",
    ),
    setting(
        _SECTION,
        "--max-image-mib",
        type=_SOME,
        default=_DEFAULTS.max_image_bytes // _MIB,
        help="Largest image, MiB encoded or raw.",
    ),
    setting(
        _SECTION,
        "--max-image-pixels",
        type=_SOME,
        default=_DEFAULTS.max_image_pixels,
        help="Largest image, height x width.",
    ),
    setting(
        _SECTION,
        "--max-result-mib",
        type=_SOME,
        default=_DEFAULTS.max_result_bytes // _MIB,
        help="All outputs of one image together, MiB.",
    ),
    setting(
        _SECTION,
        "--max-images-per-call",
        type=_SOME,
        default=_DEFAULTS.max_images_per_call,
        help="Images in one unary call.",
    ),
)
