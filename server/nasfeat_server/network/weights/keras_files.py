"""Keras' files of NASNetLarge and NASNetMobile, read without Keras: .h5 of any age, .weights.h5 and .keras."""

import contextlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights.keras_names import keras_name
from nasfeat_server.network.weights.matching import Found, Naming, match

Array = npt.NDArray[np.float32]

_NAMING = Naming(name=keras_name, ignored=lambda _name, _wanted: False)
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def read_keras(path: Path, spec: NetworkSpec) -> tuple[NetworkSpec, dict[str, Array]]:
    """Read the variables that inference needs; Keras' arrays have TF-Slim's shapes.

    Args:
        path: a file that Keras 2 or 3 wrote: weights alone or a whole model.
        spec: the network that it must hold.

    Returns:
        The spec with the file's number of classes, and the arrays by TF-Slim's names, sorted; without the classifier
        if the model was made with `include_top=False`.

    Raises:
        WeightsError: the file cannot be read, or it lists every variable that is missing, unexpected or misshapen.
    """
    try:
        with _open(path) as file:
            datasets = _datasets(file)
            found = {name: Found(tuple(dataset.shape), dataset.dtype.name) for name, dataset in datasets.items()}
            fit = match(found, spec, _NAMING, str(path))
            return fit.spec, {name: datasets[there][()] for name, there in fit.names.items()}
    except (OSError, KeyError, ValueError, AttributeError, RuntimeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"cannot read {path} as a file of Keras: {error}") from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    if not zipfile.is_zipfile(path):
        with h5py.File(path) as file:
            yield file
        return
    # A .keras file: a .weights.h5 packed with the model's description. Jumping to and fro in an archive is slow.
    with zipfile.ZipFile(path) as archive:
        member = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(member) as file:
        yield file


def _datasets(file: Any) -> dict[str, Any]:
    """Find every variable, as "layer/variable"."""
    layers = _numbered(file["layers"]) if "layers" in file else _named(file.get("model_weights", file))
    datasets: dict[str, Any] = {}
    for layer, variables in layers:
        datasets |= {f"{layer}/{name}": dataset for name, dataset in variables.items()}
    return datasets


def _named(file: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read the older format: layers and variables have their names in attributes."""
    for layer in _attribute(file, "layer_names"):
        group = file[layer]
        # The scopes before a variable's own name depend on Keras' version, and so does the number after it.
        names = {path.rpartition("/")[2].removesuffix(":0"): path for path in _attribute(group, "weight_names")}
        yield layer, {name: group[path] for name, path in names.items()}


def _attribute(group: Any, name: str) -> list[str]:
    """Read a list of strings; HDF5 limits an attribute's size, so that Keras cuts a long one to numbered pieces."""
    if name in group.attrs:
        pieces = [group.attrs[name]]
    else:
        count = sum(key.startswith(name) for key in group.attrs)
        pieces = [group.attrs[f"{name}{number}"] for number in range(count)]
    if not pieces:
        raise WeightsError(f"{group.file.filename} has no {name} in {group.name}, as Keras' files have")
    return [text.decode() if isinstance(text, bytes) else str(text) for piece in pieces for text in piece]


def _numbered(layers: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read the newer format: groups are named by class and variables by number; each group knows its layer's name."""
    for path, group in layers.items():
        variables = group.get("vars", {})
        if len(variables):
            yield variables.attrs.get("name", path), dict(zip(_names(variables), variables.values(), strict=True))


def _names(variables: Any) -> tuple[str, ...]:
    """Name the variables 0, 1, ... of a layer; those of a layer that the network has not keep their numbers."""
    numbers = tuple(variables)
    if numbers == ("0",):
        return ("kernel",)
    if numbers == ("0", "1"):
        return ("kernel", "bias") if variables["0"].ndim == 2 else ("depthwise_kernel", "pointwise_kernel")
    return _BATCH_NORM if numbers == ("0", "1", "2", "3") else numbers
