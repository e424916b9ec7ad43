"""The engine is the one that is wanted, or the fastest that can do what is asked for."""

import importlib.util
import platform
from typing import Any

import pytest

from nasfeat_server.engine import choice
from nasfeat_server.engine.choice import choose_engine
from nasfeat_server.errors import ConfigurationError

ASKED: dict[str, Any] = {"devices": ("cpu:0",), "precision": "fp32", "run_module_graph": False}


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let some packages seem not to be installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in packages else find(name))


@pytest.mark.parametrize(
    ("asked", "engine"),
    [
        ({}, "openvino"),
        ({"devices": ("cpu:0", "cpu:1")}, "openvino"),
        ({"devices": ("gpu:0",)}, "tensorflow"),
        ({"devices": ("cpu:0", "gpu:0")}, "tensorflow"),
        ({"run_module_graph": True}, "tensorflow"),
    ],
)
def test_auto_takes_the_fastest(monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], engine: str) -> None:
    """On x86-64 CPUs that is OpenVINO, wherever else it cannot be TensorFlow; and the reason is told."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    chosen = choose_engine("auto", **ASKED | asked)
    assert chosen.engine == engine
    assert chosen.why


def test_auto_on_another_processor_is_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO was measured on x86-64."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert choose_engine("auto", **ASKED).engine == "tensorflow"


def test_auto_says_what_would_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenVINO it is TensorFlow, and the log tells what to install."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    without(monkeypatch, "openvino")
    chosen = choose_engine("auto", **ASKED)
    assert (chosen.engine, "pip install 'nasfeat[openvino]'" in chosen.why) == ("tensorflow", True)


@pytest.mark.parametrize(
    ("wanted", "asked", "message"),
    [
        ("openvino", {"devices": ("gpu:0",)}, "the openvino engine runs on cpu, not on gpu"),
        ("openvino", {"run_module_graph": True}, "run by the tensorflow engine, not by openvino"),
        ("tensorflow", {"precision": "fp8"}, "computes .*fp32.* on a cpu, not fp8"),
    ],
)
def test_what_cannot_be_is_refused(wanted: str, asked: dict[str, Any], message: str) -> None:
    """The refusal says what the engine can do."""
    with pytest.raises(ConfigurationError, match=message):
        choose_engine(wanted, **ASKED | asked)


def test_a_missing_engine_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for is not replaced in silence."""
    without(monkeypatch, "onnx")
    with pytest.raises(ConfigurationError, match=r"needs onnx: pip install 'nasfeat\[openvino\]'"):
        choose_engine("openvino", **ASKED)


def test_every_engine_is_described() -> None:
    """Each has its packages and its precisions."""
    for engine in choice.ENGINES:
        choice.engine_version(engine)
        assert choice._COMPUTES[engine]
