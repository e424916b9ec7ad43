"""TensorFlow checkpoints of TF-Slim's variables: bare ones, those in modules of TF1 Hub, and those in SavedModels."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.layers import convolutions
from nasfeat_server.network.spec import NetworkSpec
from nasfeat_server.network.weights.matching import Found, Naming, match

Array = npt.NDArray[np.float32]

_SHADOW = "/ExponentialMovingAverage"
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_BOOKKEEPING = ("global_step", "save_counter", _OBJECTS)
_LATEST = re.compile(r'^model_checkpoint_path: "(.+)"$', re.MULTILINE)


def find_checkpoint(path: Path) -> str:
    """Return the prefix of the checkpoint at `path`: the prefix itself, or the one in a directory or module.

    Raises:
        WeightsError: there is none, or there are several and no `checkpoint` file says which is the latest.
    """
    if is_checkpoint(path):
        return str(path)
    if is_checkpoint(inside := path / "variables" / "variables"):
        return str(inside)
    if not path.is_dir():
        raise WeightsError(f"no checkpoint at {path}: neither {path}.index nor a directory is there")
    if latest := _latest(path):
        return str(latest)
    found = sorted(index.with_suffix("") for index in path.glob("*.index"))
    if len(found) != 1:
        names = ", ".join(prefix.name for prefix in found) or "none"
        raise WeightsError(f"{path} must hold a module or one checkpoint, and holds {names}; name the one meant")
    return str(found[0])


def is_checkpoint(prefix: Path) -> bool:
    """Whether there is a checkpoint whose files begin with `prefix`."""
    return Path(f"{prefix}.index").is_file()


def _latest(directory: Path) -> Path | None:
    """Read the `checkpoint` file that TensorFlow leaves beside the checkpoints of a training."""
    record = directory / "checkpoint"
    named = _LATEST.search(record.read_text(errors="replace")) if record.is_file() else None
    prefix = directory / named[1] if named else None
    return prefix if prefix and is_checkpoint(prefix) else None


def read_checkpoint(prefix: str, spec: NetworkSpec) -> tuple[NetworkSpec, dict[str, Array]]:
    """Read the variables that inference needs.

    Exponential moving averages are taken where a training checkpoint has them. The auxiliary head, the step and
    optimizer slots are passed over. One prefix that all names have in common, such as "module/", is taken off.

    Args:
        prefix: of a TensorFlow checkpoint, e.g. "model.ckpt": named by variables, or by objects as in a SavedModel.
        spec: the network that the checkpoint must fit exactly.

    Returns:
        The spec with the checkpoint's number of classes, and the arrays by name, sorted.

    Raises:
        WeightsError: the file cannot be read, or it lists every variable that is missing, unexpected or misshapen.
    """
    import tensorflow as tf  # noqa: PLC0415 - finding a checkpoint needs no framework

    try:
        reader = tf.train.load_checkpoint(prefix)
        keys = _without_prefix(_keys(reader, prefix), spec)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        found = {name: Found(tuple(shapes[key]), dtypes[key].name) for name, key in keys.items()}
        fit = match(found, spec, _naming(found), prefix)
        return fit.spec, {name: reader.get_tensor(keys[there]) for name, there in fit.names.items()}
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        raise WeightsError(f"cannot read the checkpoint {prefix}: {error}") from error


def _keys(reader: Any, prefix: str) -> dict[str, str]:
    """Say by which key to read each variable. A SavedModel's keys are paths of objects; the names are beside them."""
    keys = reader.get_variable_to_shape_map()
    if _OBJECTS not in keys:
        return {name: name for name in keys}
    from tensorflow.core.protobuf import trackable_object_graph_pb2  # noqa: PLC0415 - as in `read_checkpoint`

    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECTS))
    named: dict[str, str] = {}
    for attribute in (attribute for node in graph.nodes for attribute in node.attributes):
        if attribute.name != "VARIABLE_VALUE":
            continue
        name = attribute.full_name.removesuffix(":0") or attribute.checkpoint_key
        if named.setdefault(name, attribute.checkpoint_key) != attribute.checkpoint_key:
            raise WeightsError(f"{prefix} has two variables of the name {name}")
    return named


def _without_prefix(keys: Mapping[str, str], spec: NetworkSpec) -> dict[str, str]:
    first = "/" + convolutions(spec)[0].kernels[0].name
    prefixes = [name.removesuffix(first) + "/" for name in keys if name.endswith(first)]
    others = [name for name in keys if name not in _BOOKKEEPING]
    if len(prefixes) != 1 or not all(name.startswith(prefixes[0]) for name in others):
        return dict(keys)
    return {name.removeprefix(prefixes[0]): key for name, key in keys.items()}


def _naming(found: Mapping[str, Found]) -> Naming:
    averaged = any(name.endswith(_SHADOW) for name in found)

    def name(spec: NetworkSpec, name: str) -> str:
        """Prefer the average; moving statistics are averages already and may have none."""
        del spec
        shadow = name + _SHADOW
        statistic = name.endswith(("/moving_mean", "/moving_variance"))
        return shadow if averaged and (shadow in found or not statistic) else name

    return Naming(name=name, ignored=_ignored)


def _ignored(name: str, wanted: Mapping[str, str]) -> bool:
    if name in _BOOKKEEPING or name.startswith(("aux_", "beta1_power", "beta2_power")):
        return True
    # Averages and optimizer slots are named after their variable: cell_0/1x1/weights/Momentum.
    variables = wanted.values()
    return name in variables or name.rpartition("/")[0] in variables
