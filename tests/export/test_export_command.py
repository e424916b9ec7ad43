"""`nasfeat-server export` says what it does, checks what it wrote, and refuses clearly."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nasfeat_server.network.export import verify
from nasfeat_server.network.weights import Weights


@pytest.fixture
def variant(tmp_path: Path, smallest: Weights) -> str:
    """A file that describes the smallest network."""
    path = tmp_path / "smallest.json"
    path.write_text(json.dumps(dataclasses.asdict(smallest.spec)))
    return str(path)


def call(*arguments: str) -> Result:
    """Run the command in this process."""
    from nasfeat_server.cli.main import main

    return CliRunner().invoke(main, ["export", "--weights", "random:0", *arguments])


def test_progress_and_what_to_do_next(variant: str, tmp_path: Path, smallest: Weights) -> None:
    """The lines tell what was loaded, how exact the module is, its size and how it is used."""
    output = tmp_path / "module"
    result = call("--variant", variant, "--format", "onnx", "--output", str(output))
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "Loading random:0 ..."
    assert f"Loaded smallest: {sum(v.size for v in smallest.variables.values()):,} UNTRAINED parameters" in lines[1]
    assert lines[2] == f"Writing {output} ..."
    assert lines[4].startswith("Verified; relative L2 difference to the network: global_pool ")
    assert lines[5].startswith(f"Wrote {output}, ")
    assert f'onnxruntime.InferenceSession("{output}/model.onnx")' in lines[6]


def test_a_wrong_module_is_an_error(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the module computes something else, the command fails with the figures and leaves nothing."""
    exact = verify.run
    monkeypatch.setattr(
        verify, "run", lambda *arguments: {name: value * 1.001 for name, value in exact(*arguments).items()}
    )
    output = tmp_path / "module"
    result = call("--variant", variant, "--format", "onnx", "--output", str(output))
    assert result.exit_code == 1
    assert "relative L2 differences: global_pool 1.0e-03, Logits 1.0e-03, and at most 0.0001" in result.output
    assert not output.exists()
    assert call("--variant", variant, "--format", "onnx", "--output", str(output), "--no-verify").exit_code == 0


def test_refusals_come_before_the_work(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing output or a missing package is told at once, with exit code 2."""
    (tmp_path / "there").mkdir()
    result = call("--variant", variant, "--format", "onnx", "--output", str(tmp_path / "there"))
    assert (result.exit_code, "Loading" in result.output) == (2, False)
    assert "there is there already" in result.output
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = call("--variant", variant, "--format", "onnx", "--output", str(tmp_path / "new"))
    assert (result.exit_code, "Loading" in result.output) == (2, False)
    assert "to verify an ONNX model, the package onnxruntime is needed" in result.output
