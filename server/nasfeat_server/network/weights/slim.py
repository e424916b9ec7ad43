"""TF-Slim checkpoints: every variable by its name and shape, or an error that lists what differs."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.layers import classifier_variables, expected_variables
from nasfeat_server.network.spec import NetworkSpec

Array = npt.NDArray[np.float32]

# The checkpoint of another network differs in everything; a screen of that says enough.
_LISTED = 50
_SHADOW = "/ExponentialMovingAverage"


def find_checkpoint(path: Path) -> str:
    """Return the prefix of the checkpoint at `path`: the prefix itself, or the one in a directory or Hub module.

    Raises:
        WeightsError: there is none, or there are several and no `checkpoint` file says which is the latest.
    """
    if Path(f"{path}.index").is_file():
        return str(path)
    if (path / "variables" / "variables.index").is_file():
        return str(path / "variables" / "variables")
    if not path.is_dir():
        raise WeightsError(f"no checkpoint at {path}: neither {path}.index nor a directory is there")
    return _in_directory(path)


def _in_directory(directory: Path) -> str:
    import tensorflow as tf  # noqa: PLC0415 - reading names and shapes of a network needs no framework

    if latest := tf.train.latest_checkpoint(str(directory)):
        return str(latest)
    found = sorted(index.with_suffix("") for index in directory.glob("*.index"))
    if len(found) != 1:
        names = ", ".join(prefix.name for prefix in found) or "none"
        raise WeightsError(f"{directory} must hold one checkpoint, and holds {names}; name the one meant")
    return str(found[0])


def read_checkpoint(prefix: str, spec: NetworkSpec) -> dict[str, Array]:
    """Read the variables that inference needs, sorted by name.

    Exponential moving averages are taken where a training checkpoint has them. The auxiliary head, the step and
    optimizer slots are passed over. The classifier may be absent as a whole, as in a feature-vector module.

    Args:
        prefix: of a TensorFlow checkpoint, e.g. "model.ckpt".
        spec: the network that the checkpoint must fit exactly.

    Raises:
        WeightsError: the file cannot be read, or it lists every variable that is missing, unexpected or misshapen.
    """
    import tensorflow as tf  # noqa: PLC0415 - as above

    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
        sources = _match(shapes, reader.get_variable_to_dtype_map(), spec, prefix)
        return {name: reader.get_tensor(source) for name, source in sources.items()}
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        raise WeightsError(f"cannot read the checkpoint {prefix}: {error}") from error


def _match(
    shapes: dict[str, tuple[int, ...]], dtypes: dict[str, Any], spec: NetworkSpec, prefix: str
) -> dict[str, str]:
    """Say for each expected variable which one of the checkpoint to read."""
    expected = expected_variables(spec)
    classifier = classifier_variables(spec)
    if not classifier & shapes.keys():
        expected = {name: shape for name, shape in expected.items() if name not in classifier}
    averaged = any(name.endswith(_SHADOW) for name in shapes)
    sources = {name: _source(name, shapes, averaged=averaged) for name in expected}
    problems = [f"missing: {source}" for source in sources.values() if source not in shapes]
    problems += [f"unexpected: {name}" for name in sorted(shapes) if not _known(name, expected)]
    for name, source in sources.items():
        if source in shapes and shapes[source] != expected[name]:
            problems.append(f"wrong shape: {source} is {list(shapes[source])}, expected {list(expected[name])}")
        elif source in shapes and dtypes[source].name != "float32":
            problems.append(f"wrong type: {source} is {dtypes[source].name}, expected float32")
    if problems:
        more = len(problems) - _LISTED
        listed = problems[:_LISTED] + [f"and {more} more"] * (more > 0)
        lines = "\n  ".join(listed)
        raise WeightsError(f"{prefix} does not hold {spec.name}; {len(problems)} variables differ:\n  {lines}")
    return sources


def _source(name: str, shapes: dict[str, tuple[int, ...]], *, averaged: bool) -> str:
    """Prefer the average; moving statistics are averages already and may have none."""
    shadow = name + _SHADOW
    statistic = name.endswith(("/moving_mean", "/moving_variance"))
    return shadow if averaged and (shadow in shapes or not statistic) else name


def _known(name: str, expected: dict[str, tuple[int, ...]]) -> bool:
    # Averages and optimizer slots are named after their variable: cell_0/1x1/weights/Momentum.
    bookkeeping = name == "global_step" or name.startswith(("aux_", "beta1_power", "beta2_power"))
    return bookkeeping or name in expected or name.rpartition("/")[0] in expected
