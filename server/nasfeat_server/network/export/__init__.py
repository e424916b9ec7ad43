"""Modules for other programs: TF-Hub's format, TensorFlow's SavedModel, ONNX and OpenVINO.

What each form needs is imported when it is written, not with this package.
"""

import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.card import ModelCard, read_card, write_card
from nasfeat_server.network.weights import Weights

__all__ = ["Form", "write_module"]

Form = Literal["hub", "savedmodel", "onnx", "openvino"]

_PACKAGES: Mapping[Form, tuple[str, ...]] = MappingProxyType({"onnx": ("onnx",), "openvino": ("onnx", "openvino")})


def write_module(
    weights: Weights,
    directory: Path,
    *,
    form: Form,
    overwrite: bool = False,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write the network of `weights` as a module into the new `directory`, whole or not at all.

    Every form takes `images`, float32 [N, size, size, 3] of 0..1, and brings a card that `load_weights` and people
    can read.

    Args:
        weights: the variables, and the network that they are of.
        directory: where the module shall be; the directories above it are made.
        form: "hub" is TF1 Hub's format, as the published module's: tag sets `set()` and `{"train"}`. "savedmodel" is
            TF2's, with a `training` argument. Both hold the variables as they are. "onnx" writes `model.onnx`,
            "openvino" `model.xml` and `model.bin`; in these batch normalisation is folded into the convolutions.
        overwrite: replace the module that is at `directory`, once the new one is complete.
        verify: is given the complete module's directory before it takes its place; what it raises is raised, and
            nothing is left.

    Raises:
        ConfigurationError: something is at `directory`, and is not to be overwritten or is no exported module;
            or a package is missing.
    """
    check_target(directory, form=form, overwrite=overwrite)
    writer = importlib.import_module(f"nasfeat_server.network.export.{form}_form")
    with _in_place_of(directory) as made:
        writer.write(weights, made)
        write_card(made, ModelCard(spec=weights.spec, labels=weights.labels, trained=weights.trained))
        if verify:
            verify(made)


def check_target(directory: Path, *, form: Form, overwrite: bool = False) -> None:
    """Find out what would refuse the module, before anything is computed.

    Raises:
        ConfigurationError: as `write_module`.
    """
    if directory.exists():
        if not overwrite:
            raise ConfigurationError(f"{directory} is there already; name another place, or allow to overwrite it")
        # A slip in a path must not cost anybody their files.
        if not directory.is_dir() or (any(directory.iterdir()) and not read_card(directory)):
            raise ConfigurationError(f"{directory} is no module that was exported, and is not overwritten; remove it")
    for package in _PACKAGES.get(form, ()):
        require(package, extra=form, purpose=f"to write {form}")


def require(package: str, *, extra: str, purpose: str) -> None:
    """Make sure that `package` can be imported.

    Raises:
        ConfigurationError: it names the extra of nasfeat that brings the package.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ConfigurationError(
            f"{purpose}, the package {package} is needed: pip install 'nasfeat[{extra}]' ({error})"
        ) from error


@contextmanager
def _in_place_of(directory: Path) -> Iterator[Path]:
    """Give a new directory beside `directory`, which takes its place if all goes well."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as temporary:
        made = Path(temporary) / "new"
        made.mkdir()
        yield made
        if directory.exists():
            directory.rename(Path(temporary) / "old")
        made.rename(directory)
