"""The strict mapping: which variable of a source is which one of the network, or a list of all that differs."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.layers import classifier_variables, expected_variables
from nasfeat_server.network.spec import VARIANTS, NetworkSpec

# The variables of another network differ in everything; a screen of that says enough.
_LISTED = 50


class Found(NamedTuple):
    """What a source says of one of its variables: its shape, and its type by NumPy's name."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How a kind of source names the network's variables.

    Attributes:
        name: what a variable is called there, of the spec and TF-Slim's name; a WeightsError if nothing is.
        ignored: whether a name that is not asked for is no surprise, of the name and all that are asked for.
    """

    name: Callable[[NetworkSpec, str], str]
    ignored: Callable[[str, Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The outcome: every variable of the network has its counterpart, of its shape.

    Attributes:
        spec: the network, with as many classes as the classifier has.
        names: the names in the source by TF-Slim's names, sorted; without the classifier if the source has none.
    """

    spec: NetworkSpec
    names: Mapping[str, str]


def match(found: Mapping[str, Found], spec: NetworkSpec, naming: Naming, source: str) -> Match:
    """Find every variable that inference on `spec` reads.

    The classifier may be absent as a whole, as in a feature-vector module, and may have any number of classes.

    Args:
        found: all variables of the source by their names there.
        spec: the network that they must fit exactly.
        naming: how such a source names them.
        source: what the error calls it.

    Raises:
        WeightsError: it lists every variable that is missing, unexpected, misshapen or not float32.
    """
    fitted, problems = _compare(found, spec, naming)
    if not problems:
        return fitted
    more = len(problems) - _LISTED
    lines = "\n  ".join(problems[:_LISTED] + [f"and {more} more"] * (more > 0))
    raise WeightsError(
        f"{source} does not hold {spec.name}; {len(problems)} variables differ{_other(found, spec, naming)}:\n  {lines}"
    )


def _other(found: Mapping[str, Found], spec: NetworkSpec, naming: Naming) -> str:
    """Name the variant that would have fitted: to forget it is the commonest mistake."""
    for key, other in VARIANTS.items():
        # Not every kind of source has names for every network.
        with contextlib.suppress(WeightsError):
            if other != spec and not _compare(found, other, naming)[1]:
                return f" (it holds {other.name}: the variant is {key})"
    return ""


def _compare(found: Mapping[str, Found], spec: NetworkSpec, naming: Naming) -> tuple[Match, list[str]]:
    classifier = {name: naming.name(spec, name) for name in classifier_variables(spec)}
    if classes := _classes(found.get(classifier["final_layer/FC/biases"])):
        spec = dataclasses.replace(spec, num_classes=classes)
    expected = expected_variables(spec)
    if found.keys().isdisjoint(classifier.values()):
        expected = {name: shape for name, shape in expected.items() if name not in classifier}
    names = {name: naming.name(spec, name) for name in expected}
    wanted = {there: name for name, there in names.items()}
    problems = [f"missing: {_shown(name, there)}" for name, there in names.items() if there not in found]
    unexpected = found.keys() - wanted.keys()
    problems += [f"unexpected: {name}" for name in sorted(unexpected) if not naming.ignored(name, wanted)]
    problems += _misshapen(found, names, expected, classifier)
    return Match(spec=spec, names=names), problems


def _classes(biases: Found | None) -> int:
    return biases.shape[0] if biases and len(biases.shape) == 1 else 0


def _misshapen(
    found: Mapping[str, Found],
    names: Mapping[str, str],
    expected: Mapping[str, tuple[int, ...]],
    classifier: Mapping[str, str],
) -> list[str]:
    wrong = {name for name, there in names.items() if there in found and found[there].shape != expected[name]}
    if wrong & classifier.keys():
        wrong |= classifier.keys()  # whichever of the two is to blame
    problems = []
    for name, there in names.items():
        if there not in found:
            continue
        shape, dtype = found[there]
        if name in wrong:
            sizes = [*expected[name][:-1], "classes"] if name in classifier else expected[name]
            wanted = ", ".join(map(str, sizes))
            problems.append(f"wrong shape: {_shown(name, there)} is {list(shape)}, expected [{wanted}]")
        elif dtype != "float32":
            problems.append(f"wrong type: {_shown(name, there)} is {dtype}, expected float32")
    return problems


def _shown(name: str, there: str) -> str:
    return there if there.startswith(name) else f"{there} ({name})"
