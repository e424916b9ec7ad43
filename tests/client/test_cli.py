"""The `nasfeat` command: what it writes, what it says and its exit codes."""

import asyncio
import dataclasses
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasfeat_client import ErrorReason, FrameError
from nasfeat_client._loop import LoopThread
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Refusal, Script, fake_vector

PROGRAM = (sys.executable, "-c", "from nasfeat_client.cli import run; run()")

Nasfeat = Callable[..., tuple[int, str, str]]


def test_extract_writes_features_names_and_identity(nasfeat: Nasfeat) -> None:
    """The file has a row for each photo, in their order, and says which model made them."""
    code, out, err = nasfeat("extract", "b.jpg", "a.jpg")
    assert (code, err) == (0, "")
    assert out.startswith("2 extracted in ")
    table = pq.read_table("features.parquet")
    assert table.column_names == ["name", "features"]
    assert table.schema.field("features").type == pa.list_(pa.field("item", pa.float32(), nullable=False), 4032)
    np.testing.assert_array_equal(np.stack(table["features"].to_numpy()), [fake_vector(b"b"), fake_vector(b"a")])
    assert table["name"].to_pylist() == ["b.jpg", "a.jpg"]
    assert json.loads(table.schema.metadata[b"nasfeat.name"]) == "fake"
    assert json.loads(table.schema.metadata[b"nasfeat.weights_digest"]) == "sha256:fake"
    assert json.loads(table.schema.metadata[b"nasfeat.trained"]) is True


def test_a_bad_photo_fails_alone(nasfeat: Nasfeat) -> None:
    """It is named on stderr with what was wrong, the others are written, and the exit code is 1."""
    code, out, err = nasfeat("extract", "a.jpg", "none.jpg", "c.jpg", "-o", "some.npz")
    assert code == 1
    assert out.startswith("2 extracted, 1 failed in ")
    assert err == "none.jpg: cannot read none.jpg: No such file or directory\n"
    with np.load("some.npz") as file:
        assert file["name"].tolist() == ["a.jpg", "c.jpg"]
    error = json.loads(Path("some.npz.errors.jsonl").read_text())
    assert error == {"name": "none.jpg", "reason": "INVALID_IMAGE", "message": err.split(": ", 1)[1].strip()}


def test_json_is_one_document(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """It has the output, the counts, each error, the identity, the stages' mean seconds and the rate."""
    threaded_server.script = Script(failures={1: FrameError(reason=ErrorReason.INVALID_IMAGE, message="no picture")})
    code, out, _ = nasfeat("extract", "a.jpg", "b.jpg", "--json")
    assert code == 1
    document = json.loads(out)
    assert document.pop("elapsed_s") > 0
    assert document.pop("images_per_s") > 0
    assert document == {
        "output": "features.parquet",
        "done_before": 0,
        "failed_before": 0,
        "images": 2,
        "succeeded": 1,
        "failed": 1,
        "dropped": 0,
        "ages_s": None,
        "errors": [{"name": "b.jpg", "reason": "INVALID_IMAGE", "message": "no picture"}],
        "stopped_by": None,
        "identity": dataclasses.asdict(FAKE_MODEL.identity),
        "mean_timings_s": {"receive": 0.0, "decode": 0.001, "queue": 0.0, "execute": 0.002, "reply": 0.0},
    }


def test_what_was_extracted_before_a_failure_is_kept(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """A server that goes away ends the run with code 1, and the vectors it gave are written."""
    threaded_server.script = Script(results_before_end=2)
    code, out, err = nasfeat("extract", "a.jpg", "b.jpg", "c.jpg", "-o", "features.npz")
    assert code == 1
    assert out.startswith("2 extracted")
    assert err.startswith(f"Error: {threaded_server.target}")
    with np.load("features.npz") as file:
        assert file["name"].tolist() == ["a.jpg", "b.jpg"]


def test_nothing_extracted_leaves_the_old_file(nasfeat: Nasfeat) -> None:
    """A run without a single vector does not replace what stands there."""
    for path in (Path("features.npz"), Path("features.parquet")):
        path.write_text("old")
        code, out, _ = nasfeat("extract", "none.jpg", "-o", path)
        assert code == 1
        assert out.endswith("wrote nothing\n")
        assert path.read_text() == "old"


def test_an_output_that_cannot_be_written_is_found_first(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """The server is not even asked."""
    threaded_server.script = Script(refusal=Refusal(code=grpc.StatusCode.INTERNAL, message="was asked"))
    for name in ("features.npz", "features.parquet", "features.jsonl"):
        code, _, err = nasfeat("extract", "a.jpg", "-o", f"none/{name}")
        assert (code, err) == (1, f"Error: cannot write none/{name}: No such file or directory\n")


def test_untrained_weights_are_announced(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """Random weights give well-formed vectors: the user is told that they mean nothing."""
    identity = dataclasses.replace(FAKE_MODEL.identity, trained=False, weights_source="random:0")
    threaded_server.model = dataclasses.replace(FAKE_MODEL, identity=identity)
    code, _, err = nasfeat("extract", "a.jpg")
    assert code == 0
    assert "untrained (random:0): the results mean nothing" in err


def test_progress_is_for_terminals(nasfeat: Nasfeat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar on stderr counts the frames; --json silences it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "3/3" in nasfeat("extract", "a.jpg", "b.jpg", "c.jpg")[2]
    assert nasfeat("extract", "a.jpg", "--json")[2] == ""


def test_model_is_shown(nasfeat: Nasfeat) -> None:
    """As tables for people, a map and its average in one row, or as JSON."""
    code, out, _ = nasfeat("model")
    assert code == 0
    rows = {cells[0]: cells[1:] for line in out.splitlines() if len(cells := re.split(r" *[│┃] *", line)[1:-1]) > 1}
    assert rows["feature length"] == ["4032"]
    assert (rows["wiring"], rows["image channels"], rows["labels"]) == (["slim"], ["3"], ["10"])
    assert rows["global_pool"] == ["4032", ""]
    assert rows["Cell_0"] == ["2 x 3 x 4", "4"]
    assert "Cell_0/mean" not in rows
    code, out, _ = nasfeat("model", "fake", "--json")
    assert json.loads(out) == json.loads(json.dumps(dataclasses.asdict(FAKE_MODEL)))
    code, out, err = nasfeat("model", "vgg")
    assert (code, out) == (1, "")
    assert "there is no model 'vgg'" in err


def test_an_unreachable_server_is_one_clear_line(nasfeat: Nasfeat, loop_thread: LoopThread) -> None:
    """It names the target; there is no traceback."""
    stopped = FakeFeatureServer()
    loop_thread.run(stopped.__aenter__)
    loop_thread.run(stopped.stop)
    code, out, err = nasfeat("extract", "a.jpg", "-t", stopped.target)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {stopped.target}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("extract",), ("classify", "a.jpg", "--top-k", "0"), ("video", "none.mp4"), ("nothing",)]
)
def test_wrong_usage_is_code_2(nasfeat: Nasfeat, arguments: tuple[str, ...]) -> None:
    """With a hint on stderr."""
    code, out, err = nasfeat(*arguments)
    assert (code, out) == (2, "")
    assert "Error" in err


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("extract",),
        ("classify",),
        ("video",),
        ("model",),
        ("similar",),
        ("search",),
        ("timeline",),
        ("load",),
        ("push",),
    ],
)
def test_help(nasfeat: Nasfeat, command: tuple[str, ...]) -> None:
    """Every command explains itself."""
    code, out, _ = nasfeat(*command, "--help")
    assert code == 0
    assert "Usage: " in out


def test_ctrl_c_is_code_130(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, loop_thread: LoopThread, tmp_path: Path
) -> None:
    """It ends a run that waits, says so, and leaves no file behind."""
    threaded_server.script = Script(gates={0: asyncio.Event()})
    before = sorted(tmp_path.iterdir())
    with subprocess.Popen([*PROGRAM, "extract", "a.jpg"], stderr=subprocess.PIPE, text=True) as process:
        loop_thread.run(threaded_server.seen.frames, 1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.strip() == "Interrupted."
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("missing", "arguments", "hint"),
    [
        ("click", ("model",), "nasfeat[cli]"),
        ("rich", ("model",), "nasfeat[cli]"),
        ("av", ("video", __file__), "nasfeat[video]"),
    ],
)
def test_a_missing_extra_is_named(missing: str, arguments: tuple[str, ...], hint: str) -> None:
    """Without an optional library the command says what to install."""
    program = f"import sys; sys.modules[{missing!r}] = None; {PROGRAM[-1]}"
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"pip install '{hint}'" in done.stderr
    assert "Traceback" not in done.stderr
