"""A module is written whole or not at all, and nobody's files are lost."""

import subprocess
import sys
from pathlib import Path

import pytest

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.export import Form, write_module
from nasfeat_server.network.weights import Weights


def test_what_is_there_stays(smallest: Weights, tmp_path: Path) -> None:
    """An existing module is replaced on demand alone."""
    target = tmp_path / "module"
    write_module(smallest, target, form="onnx")
    (target / "model.onnx").write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="module is there already"):
        write_module(smallest, target, form="onnx")
    assert (target / "model.onnx").read_bytes() == b"mine"
    write_module(smallest, target, form="onnx", overwrite=True)
    assert (target / "model.onnx").stat().st_size > 4
    assert list(tmp_path.iterdir()) == [target]


def test_other_files_are_never_overwritten(smallest: Weights, tmp_path: Path) -> None:
    """A directory of something else is refused, even to overwrite; an empty one is not."""
    (tmp_path / "letters").mkdir()
    write_module(smallest, tmp_path / "letters", form="onnx", overwrite=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    (tmp_path / "file").touch()
    for name in ("photos", "file"):
        with pytest.raises(ConfigurationError, match=f"{name} is no module that was exported"):
            write_module(smallest, tmp_path / name, form="onnx", overwrite=True)


def test_a_module_that_fails_its_check_is_not_left(smallest: Weights, tmp_path: Path) -> None:
    """The check sees the whole module, elsewhere; if it raises, there is nothing, or what was there before."""
    seen: list[set[str]] = []

    def refuse(directory: Path) -> None:
        seen.append({path.name for path in directory.rglob("*") if path.is_file()})
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        write_module(smallest, tmp_path / "deep" / "module", form="onnx", verify=refuse)
    assert seen == [{"model.onnx", "nasfeat.json"}]
    assert not list((tmp_path / "deep").iterdir())


@pytest.mark.parametrize(("form", "package"), [("onnx", "onnx"), ("openvino", "openvino")])
def test_a_missing_package(
    form: Form, package: str, smallest: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the package and the extra that brings it, and nothing is written."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"package {package} is needed: pip install 'nasfeat\[{form}\]'"):
        write_module(smallest, tmp_path / "module", form=form)
    assert not list(tmp_path.iterdir())


def test_openvino_forks_nothing() -> None:
    """OpenVINO, imported behind this package, does not load what would fork the process to report its use."""
    program = "import nasfeat_server.network, openvino, sys; print(sys.modules['openvino_telemetry'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
