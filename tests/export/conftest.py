"""Modules of the recorded networks, written once for all tests of this package."""

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nasfeat_server.network.export import Form, write_module
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights import Weights, load_weights

ORACLE = Path(__file__).parents[1] / "data" / "oracle"
TINY = ("tiny_mobile", "tiny_large", "tiny_cifar")
Exported = Callable[[str, Form], Path]
Distance = Callable[[Any, npt.NDArray[np.float32]], float]

SMALLEST = NetworkSpec(
    name="smallest",
    family="cifar",
    image_size=16,
    num_classes=5,
    num_cells=2,
    num_conv_filters=4,
    stem_multiplier=2.0,
    num_reduction_layers=1,
    drop_path_keep_prob=0.5,
)
"""Less than any recorded network, for tests that are slow, and with path dropout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the original computes with a small network, and its weights."""

    weights: Weights
    images: npt.NDArray[np.float32]
    inference: dict[str, npt.NDArray[np.float32]]
    training: dict[str, npt.NDArray[np.float32]]


@functools.cache
def _recorded(name: str) -> Recorded:
    folder = ORACLE / name
    spec = NetworkSpec(**json.loads((folder / "spec.json").read_text()))
    inference, training = (
        dict(np.load(folder / f"{file}.npz").items()) for file in ("reference", "reference_train_mode")
    )
    return Recorded(
        weights=load_weights(str(folder / "model.ckpt"), spec),
        images=inference.pop("images"),
        inference=inference,
        training=training,
    )


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Recorded]:
    """Read the files of a recorded network, by name."""
    return _recorded


@pytest.fixture(params=TINY)
def tiny(request: pytest.FixtureRequest) -> str:
    """The name of each of the recorded networks."""
    return str(request.param)


@pytest.fixture(scope="session")
def smallest() -> Weights:
    """Random weights of the smallest network."""
    return load_weights("random:0", SMALLEST)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Write the module of a recorded network, or of "smallest", in a form; once."""
    folder = tmp_path_factory.mktemp("exported")

    def export(name: str, form: Form) -> Path:
        module = folder / f"{name}-{form}"
        if not module.exists():
            weights = load_weights("random:0", SMALLEST) if name == "smallest" else _recorded(name).weights
            write_module(weights, module, form=form)
        return module

    return export


@pytest.fixture(scope="session")
def hub() -> Any:
    """TensorFlow Hub's library, which announces the end of what it imports."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*pkg_resources.*")
        import tensorflow_hub
    return tensorflow_hub


@pytest.fixture(scope="session")
def distance() -> Distance:
    """The L2 norm of the difference, over that of what is expected."""
    return lambda found, expected: float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))
