"""[model]: which network with which weights, and what it is called."""

from pathlib import Path

import click

from nasfeat_server.cli.settings.option import Options, setting
from nasfeat_server.config import ServerConfig

_DEFAULTS = ServerConfig()
_SECTION = "model"

MODEL: Options = (
    setting(
        _SECTION,
        "--weights",
        default=_DEFAULTS.weights,
        metavar="SOURCE",
        help="'published' (the variant's TF-Hub module, else TF-Slim's checkpoint, else Keras' file), hub:HANDLE, a "
        "path or URL of a module, a TF-Slim checkpoint or a Keras file, or random:SEED for an untrained network.",
    ),
    setting(
        _SECTION,
        "--variant",
        metavar="NAME",
        help="large, mobile, cifar, or a .json file with a NetworkSpec.  [default: what the module says, or large]",
    ),
    setting(
        _SECTION,
        "--keras-wiring",
        is_flag=True,
        help="Pad the reduction cells' poolings as keras.applications does, and not as the original.",
    ),
    setting(
        _SECTION,
        "--cache",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where downloads are kept; TF-Hub's own are in TFHUB_CACHE_DIR.  [default: the user's cache directory]",
    ),
)
"""What every command takes that needs a network."""

SERVED_MODEL: Options = (
    setting(
        _SECTION,
        "--run-module-graph",
        is_flag=True,
        help="Run the graph that the weights' module brings, in place of our own: slower, to compare.",
    ),
    setting(
        _SECTION,
        "--crop",
        default=_DEFAULTS.crop,
        help="How pictures are brought to the network's square: 'stretch', 'letterbox' (proportions kept, gray at two "
        "sides) or 'center_crop:0.875' (that part of the middle, as TF-Slim evaluates).",
    ),
    setting(_SECTION, "--model-version", default=_DEFAULTS.model_version, help="Your name for these weights."),
    setting(
        _SECTION,
        "--model-alias",
        metavar="NAME",
        help="Another name under which clients may ask for the model, as the one that it had on another server.",
    ),
)
