"""Which engine computes, and in which precision: what fits the device, and of that the fastest."""

import importlib.util
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from nasfeat_server.errors import ConfigurationError

AUTO, FAKE = "auto", "fake"
ENGINES = ("tensorflow", "openvino", "jax", FAKE)
PRECISIONS = ("fp32", "bf16", "fp16", "int8")

_DEFAULT = "tensorflow"
_COMPUTES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "tensorflow": {"cpu": ("fp32", "bf16"), "gpu": ("fp32", "bf16", "fp16")},
        "openvino": {"cpu": ("fp32", "bf16", "int8")},
        "jax": {"cpu": ("fp32", "bf16"), "gpu": ("fp32", "bf16", "fp16")},
        FAKE: {"cpu": PRECISIONS, "gpu": PRECISIONS},
    }
)
"""The precisions that each engine computes in, by kind of device."""
_PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"tensorflow": ("tensorflow",), "openvino": ("openvino", "onnx"), "jax": ("jax",), FAKE: ()}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An engine, and why it is this one."""

    engine: str
    why: str


def choose_engine(wanted: str, *, devices: Sequence[str], precision: str, run_module_graph: bool) -> Choice:
    """Take the engine that is wanted, or the fastest that is installed and can do what is asked for.

    Args:
        wanted: one of `ENGINES`, or "auto".
        devices: names like "cpu:0" and "gpu:1".
        precision: one of `PRECISIONS`.
        run_module_graph: run the graph that the weights' module brings, which TensorFlow alone can.

    Raises:
        ConfigurationError: it is not installed or cannot compute so there, and what would.
    """
    kinds = {device.partition(":")[0] for device in devices}
    if wanted == AUTO:
        choice = _fastest(kinds, precision, run_module_graph=run_module_graph)
    else:
        choice = Choice(engine=wanted, why="as told")
    _check(choice.engine, kinds, precision, run_module_graph=run_module_graph)
    return choice


def engine_version(engine: str) -> str:
    """Name the version of the library behind an engine."""
    return " ".join(version(package) for package in _PACKAGES[engine])


def processor() -> str:
    """Name the instructions of this machine's processor: what is compiled for another may not run here."""
    found = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _fastest(kinds: set[str], precision: str, *, run_module_graph: bool) -> Choice:
    if run_module_graph:
        return Choice(engine=_DEFAULT, why="it runs the graphs of modules")
    if kinds != {"cpu"}:
        return Choice(engine=_DEFAULT, why="the one that was made for GPUs")
    if platform.machine() != "x86_64":
        return Choice(engine=_DEFAULT, why="OpenVINO is fast on x86-64 alone")
    if missing := _missing("openvino"):
        why = f"{' and '.join(missing)} missing: pip install 'nasfeat[openvino]' brings what is faster on this CPU"
        return Choice(engine=_DEFAULT, why=why)
    return Choice(engine="openvino", why=f"the fastest on x86-64 CPUs in {precision}")


def _check(engine: str, kinds: set[str], precision: str, *, run_module_graph: bool) -> None:
    if missing := _missing(engine):
        raise ConfigurationError(
            f"the {engine} engine needs {' and '.join(missing)}: pip install 'nasfeat[{_extra(engine)}]'"
        )
    if run_module_graph and engine != _DEFAULT:
        raise ConfigurationError(f"the graph of a module is run by the {_DEFAULT} engine, not by {engine}")
    computes = _COMPUTES[engine]
    for kind in sorted(kinds):
        if kind not in computes:
            raise ConfigurationError(f"the {engine} engine runs on {', '.join(computes)}, not on {kind}")
        if precision not in computes[kind]:
            able = [name for name, has in _COMPUTES.items() if precision in has.get(kind, ()) and name != FAKE]
            others = f"; {' and '.join(able)} would" if able else ""
            raise ConfigurationError(
                f"the {engine} engine computes {', '.join(computes[kind])} on a {kind}, not {precision}{others}"
            )


def _missing(engine: str) -> list[str]:
    return [package for package in _PACKAGES[engine] if importlib.util.find_spec(package) is None]


def _extra(engine: str) -> str:
    return "server" if engine == _DEFAULT else engine
