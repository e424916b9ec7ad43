"""From a weights source to a place on this machine."""

import dataclasses
import re
import zipfile
from pathlib import Path

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.card import read_card
from nasfeat_server.network.spec import NetworkSpec, find_spec
from nasfeat_server.network.weights.cache import default_cache, unpack
from nasfeat_server.network.weights.slim import find_checkpoint, is_checkpoint
from nasfeat_server.network.weights.values import Located, Report

_HDF5 = b"\x89HDF\r\n\x1a\n"
_GZIP = b"\x1f\x8b"
_CHECKPOINT_FILE = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
_RANDOM = re.compile(r"random:\d+")
_WITHOUT_NETWORK = (
    "give the path of a downloaded module, checkpoint or Keras file, set TFHUB_CACHE_DIR to a directory that holds the "
    "module, or take random:SEED for untrained weights"
)
_ALLOWED = (
    "weights are published, hub:HANDLE, hub:URL, an http(s) URL, the path of a module's directory or .tar.gz, of a "
    "TF-Slim checkpoint (its prefix, directory or .tar.gz), of a Keras .h5, .weights.h5 or .keras file, or random:SEED"
)


def locate(
    source: str,
    variant: str | NetworkSpec | None = None,
    *,
    keras_wiring: bool = False,
    report: Report = print,
    cache_dir: Path | None = None,
) -> Located:
    """Find `source`, fetching it if it is not on this machine.

    Args:
        source: `published`, `hub:HANDLE|URL|PATH`, a URL, a path or `random:SEED`; the README has a table of them.
        variant: a key of `VARIANTS`, the path of a .json file, or a spec; None takes the module's own, or `large` where
            it has none.
        keras_wiring: pool as keras.applications does; see `NetworkSpec.wiring`.
        report: is told, a line at a time, what takes long.
        cache_dir: keeps downloads and what is unpacked; by default `nasfeat` in the user's cache directory. Modules of
            TF-Hub are in TF-Hub's own.

    Raises:
        ConfigurationError: there is no such variant.
        WeightsError: the source cannot be had, or is nothing that holds weights.
    """
    path = None if source.startswith("random:") else _find(source, find_spec(variant or "large"), cache_dir, report)
    if not path and not _RANDOM.fullmatch(source):
        raise WeightsError(f"random weights are named random:SEED with a whole number, not {source!r}")
    card = read_card(path) if path else None
    spec = card.spec if card and variant is None else find_spec(variant or "large")
    if keras_wiring:
        spec = dataclasses.replace(spec, wiring="keras")
    return Located(
        source=source,
        location=str(path or source),
        spec=spec,
        labels=card.labels if card else (),
        trained=card.trained if card else path is not None,
    )


def _find(source: str, spec: NetworkSpec, cache_dir: Path | None, report: Report) -> Path:
    if not source.startswith(("hub:", "http://", "https://")) and source != "published":
        return _usable(Path(source).expanduser().absolute(), cache_dir, report)
    try:
        fetched = _fetch(source, spec, cache_dir, report)
    except WeightsError as error:
        raise WeightsError(f"{error}\n{_WITHOUT_NETWORK}") from error
    try:
        return _usable(fetched, cache_dir, report)
    except WeightsError:
        if fetched.is_file() and not source.startswith("hub:"):
            fetched.unlink()  # or it would be in the way of a better one
        raise


def _usable(path: Path, cache_dir: Path | None, report: Report) -> Path:
    """Return what holds the variables: `path` itself, or what is in it if it is an archive."""
    if path.is_dir():
        find_checkpoint(path)
        return path
    prefix = path.with_name(_CHECKPOINT_FILE.sub("", path.name))
    if is_checkpoint(prefix):
        return prefix
    if not path.is_file():
        raise WeightsError(f"there is nothing at {path}; {_ALLOWED}")
    if _is_keras(path):
        return path
    if _start(path).startswith(_GZIP) or path.suffix == ".tar":
        return _usable(unpack(path, cache_dir or default_cache(), report), cache_dir, report)
    raise WeightsError(f"{path} is neither an archive nor a Keras file (it begins with {_start(path)!r}); {_ALLOWED}")


def _is_keras(path: Path) -> bool:
    return _start(path) == _HDF5 or zipfile.is_zipfile(path)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_HDF5))


def _fetch(source: str, spec: NetworkSpec, cache_dir: Path | None, report: Report) -> Path:
    if source.startswith("hub:"):
        from nasfeat_server.network.weights.hub import resolve  # noqa: PLC0415 - brings TensorFlow

        return resolve(source.removeprefix("hub:"), report)
    cache = cache_dir or default_cache()
    if source == "published":
        from nasfeat_server.network.weights.published import find_published  # noqa: PLC0415 - brings TensorFlow

        return find_published(spec, cache, report)
    from nasfeat_server.network.weights.download import fetch  # noqa: PLC0415 - not needed for what is here

    return fetch(source, cache, report=report)
