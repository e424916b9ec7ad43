"""What the original implementation computes, for the tests of this package."""

import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from modules import write_tf1_module
from nasfeat_server.network.spec import VARIANTS, NetworkSpec

ORACLE = Path(__file__).parents[1] / "data" / "oracle"
Reader = Callable[[Path | str], dict[str, Any]]
Writer = Callable[..., Path]
Packer = Callable[..., Path]
TINY = ("tiny_mobile", "tiny_large", "tiny_cifar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One reference network: its spec, its folder, and name to shape of its variables and end points."""

    spec: NetworkSpec
    folder: Path
    variables: Mapping[str, tuple[int, ...]]
    endpoints: Mapping[str, tuple[int, ...]]

    @property
    def checkpoint(self) -> str:
        """The prefix of the inference checkpoint."""
        return str(self.folder / "model.ckpt")

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """The images, and every end point over them."""
        with np.load(self.folder / "reference.npz") as archive:
            return {name: archive[name] for name in ("images", *self.endpoints)}


def _reference(name: str) -> Reference:
    folder = ORACLE / name
    if name in TINY:
        spec = NetworkSpec(**json.loads((folder / "spec.json").read_text()))
    else:
        spec = VARIANTS[name.removeprefix("nasnet_")]
    return Reference(
        spec=spec,
        folder=folder,
        variables={row[0]: tuple(json.loads(row[2])) for row in _rows(folder / "variables.txt")},
        endpoints={row[0]: tuple(json.loads(row[1])) for row in _rows(folder / "end_points.txt")},
    )


def _rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


@pytest.fixture(params=TINY)
def tiny(request: pytest.FixtureRequest) -> Reference:
    """Each of the small networks that are recorded whole."""
    return _reference(request.param)


@pytest.fixture(params=[*TINY, "nasnet_large", "nasnet_mobile", "nasnet_cifar"])
def network(request: pytest.FixtureRequest) -> Reference:
    """Each of the networks, the full ones by names and shapes only."""
    return _reference(request.param)


@pytest.fixture(params=["tiny_mobile", "tiny_large"])
def tiny_trained(request: pytest.FixtureRequest) -> Reference:
    """Each of the networks with a training checkpoint."""
    return _reference(request.param)


@pytest.fixture
def tiny_mobile() -> Reference:
    """One small network, where one is enough."""
    return _reference("tiny_mobile")


@pytest.fixture
def tiny_cifar() -> Reference:
    """The smallest network."""
    return _reference("tiny_cifar")


@pytest.fixture
def network_large() -> Reference:
    """The full Large network, by names and shapes only."""
    return _reference("nasnet_large")


@pytest.fixture
def read_variables() -> Reader:
    """Read a whole checkpoint, whatever it holds."""

    def read(prefix: Path | str) -> dict[str, Any]:
        import tensorflow as tf

        reader = tf.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}

    return read


@pytest.fixture
def write_checkpoint(tmp_path: Path) -> Writer:
    """Write arrays by name as a checkpoint below a temporary directory, and return its prefix."""

    def write(variables: Mapping[str, Any], prefix: str = "model.ckpt") -> Path:
        import tensorflow as tf

        path = tmp_path / prefix
        path.parent.mkdir(parents=True, exist_ok=True)
        tf.raw_ops.SaveV2(
            prefix=str(path),
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=[tf.constant(value) for value in variables.values()],
        )
        return path

    return write


@pytest.fixture(scope="session")
def hub_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_cifar` as a feature-vector module in the format of TF1 Hub; not to be changed."""
    from nasfeat_server.network.weights import load_weights

    reference = _reference("tiny_cifar")
    weights = load_weights(reference.checkpoint, reference.spec)
    variables = {name: value for name, value in weights.variables.items() if not name.startswith("final_layer/")}
    return write_tf1_module(tmp_path_factory.mktemp("hub") / "module", reference.spec, variables)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of TF-Hub."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "tfhub"))
    return tmp_path / "tfhub"


@pytest.fixture
def pack(tmp_path: Path) -> Packer:
    """Pack a directory's contents as .tar.gz, below a folder of that name if there is one."""

    def pack(directory: Path, folder: str = "") -> Path:
        archive = tmp_path / "packed.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            for path in sorted(directory.iterdir()):
                tar.add(path, Path(folder) / path.name)
        return archive

    return pack
