"""`nasfeat-server fine-tune` as a user runs it."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from nasfeat_server.cli.main import main
from programs import ANYWHERE, SERVER, run_client, server

if TYPE_CHECKING:
    from tests.training.conftest import Folder

TINY = Path(__file__).parents[1] / "data" / "oracle" / "tiny_mobile"


@pytest.mark.slow
def test_it_overfits_survives_a_kill_and_is_served(folder: "Folder", tmp_path: Path) -> None:
    """Killed -9 in the middle, the same command goes on; its module, served, knows over 95 % of its own pictures."""
    data, module = folder(("astronaut", "chelsea", "coffee"), count=8), tmp_path / "module"
    network = ("--weights", str(TINY / "model.ckpt"), "--variant", str(TINY / "spec.json"))
    how = ("--validation-split", "0", "--no-augment", "--epochs", "10", "--batch-size", "8", "--freeze-up-to", "cell_0")
    command = [str(SERVER), "fine-tune", *network, *how, "--data", str(data), "--output", str(module)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        for line in first.stderr or ():
            if line.startswith("epoch 4/10"):
                first.send_signal(signal.SIGKILL)
                break
    assert first.returncode == -signal.SIGKILL
    assert not module.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"going on with the run in {module}.work: " in done.stderr
    told = [line.split(":")[0] for line in done.stderr.splitlines() if line.startswith("epoch ")]
    assert told[0] in {"epoch 4/10", "epoch 5/10"}
    assert told[-1] == "epoch 10/10"
    assert f"nasfeat-server --weights {module}" in done.stdout
    assert not Path(f"{module}.work").exists()
    files = sorted(data.rglob("*.jpg"))
    assert asyncio.run(accuracy_served(module, files)) > 0.95


async def accuracy_served(module: Path, files: list[Path]) -> float:
    """Serve a module as its command says, and see how many of its pictures are classified right over gRPC."""
    async with server("--weights", str(module), *ANYWHERE) as running:
        code, printed, complaint = await run_client("classify", "--target", running.listening, "--json", *files)
    assert code == 0, complaint
    results = json.loads(printed)["results"]
    right: list[bool] = [found["classes"][0]["label"] == Path(found["name"]).parent.name for found in results]
    assert len(right) == len(files)
    return sum(right) / len(right)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--freeze-up-to", "cell_99"), "no cell 'cell_99'; it has stem, cell_stem_0, cell_stem_1, cell_0,"),
        (("--epochs", "0"), "0 is not in the range x>=1"),
        (("--validation-split", "1"), "not in the range 0<=x<1"),
        (("--format", "onnx"), "'onnx' is not one of 'hub', 'savedmodel'"),
        (("--data", "nowhere"), "Directory 'nowhere' does not exist"),
        (("--weights", "random:x"), "random weights are named random:SEED"),
    ],
)
def test_what_is_wrong_is_told_plainly(
    folder: "Folder", tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """Exit code 2, a message without a traceback, and nothing is left behind."""
    given = ["--data", str(folder(count=1)), "--output", str(tmp_path / "module"), "--weights", "random:0"]
    result = CliRunner().invoke(main, ["fine-tune", "--variant", str(TINY / "spec.json"), *given, *options])
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_help_shows_every_default() -> None:
    """Every option says what it does and what holds without it."""
    text = CliRunner().invoke(main, ["fine-tune", "--help"]).output
    for option in ("--learning-rate", "--freeze-up-to", "--patience", "--work-dir", "--batch-norm-decay"):
        told = text.split(option)[1].split("\n  --")[0]
        assert "[default:" in told
