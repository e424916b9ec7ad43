"""`nasfeat extract` into Parquet: a run that was ended early is gone on with."""

import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nasfeat_client import ErrorReason, FrameError
from nasfeat_client._loop import LoopThread
from nasfeat_client.cli.tables import parts
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Script, fake_vector

Nasfeat = Callable[..., tuple[int, str, str]]

_COUNT = 10
_FOLDER = Path("features.parquet.parts")


@pytest.fixture
def pictures(nasfeat: Nasfeat, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write ten pictures, the fourth of which cannot be read; parts are of three."""
    monkeypatch.setattr(parts, "_PART_INPUTS", 3)
    Path("in").mkdir()
    names = [f"in/{number}.jpg" for number in range(_COUNT)]
    for name in names:
        Path(name).write_bytes(name.encode())
    Path(names[3]).unlink()
    Path("list.txt").write_text("\n".join(names))
    return names


def _ends_after(server: FakeFeatureServer, loop: LoopThread, results: int) -> None:
    """End the next stream after so many results, once all frames have come: what ends it amid sending may be hidden."""
    gate = asyncio.Event()
    server.script = Script(results_before_end=results, gates={results: gate})
    frames = len(server.seen.frame_ids) + _COUNT - 1

    async def release() -> None:
        await server.seen.frames(frames)
        gate.set()

    threading.Thread(target=loop.run, args=(release,)).start()


def _check(names: list[str]) -> None:
    """Hold the table to what an undisturbed run writes."""
    table = pq.read_table("features.parquet")
    assert table["name"].to_pylist() == [name for name in names if name != names[3]]
    expected = [fake_vector(name.encode()) for name in table["name"].to_pylist()]
    np.testing.assert_array_equal(np.stack(table["features"].to_numpy()), expected)
    errors = [json.loads(line) for line in Path("features.parquet.errors.jsonl").read_text().splitlines()]
    assert [error["name"] for error in errors] == [names[3]]
    assert not _FOLDER.exists()


def test_a_run_that_lost_its_server_is_gone_on_with(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, loop_thread: LoopThread, pictures: list[str]
) -> None:
    """What was done is kept and not sent again; the file is that of a run that nothing disturbed, byte for byte."""
    assert nasfeat("extract", "list.txt")[0] == 1
    _check(pictures)
    undisturbed = Path("features.parquet").read_bytes()
    Path("features.parquet").unlink()

    _ends_after(threaded_server, loop_thread, 5)
    code, out, err = nasfeat("extract", "list.txt")
    assert code == 1
    assert out.endswith("wrote nothing\n")
    assert "6 images are kept in features.parquet.parts; the same command goes on from there" in err
    assert not Path("features.parquet").exists()

    threaded_server.script = Script()
    before = len(threaded_server.seen.frame_ids)
    code, out, _ = nasfeat("extract", "list.txt", "--json")
    # As of a run that nothing disturbed: not every picture has features.
    assert code == 1
    summary = json.loads(out)
    assert (summary["done_before"], summary["failed_before"], summary["succeeded"]) == (6, 1, 4)
    assert len(threaded_server.seen.frame_ids) - before == 4
    _check(pictures)
    assert Path("features.parquet").read_bytes() == undisturbed


def test_ctrl_c_keeps_what_was_done(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, loop_thread: LoopThread, pictures: list[str]
) -> None:
    """The run says so, and the same command goes on."""
    threaded_server.script = Script(gates={5: asyncio.Event()})
    program = (sys.executable, "-c", "from nasfeat_client.cli import run; run()")
    with subprocess.Popen([*program, "extract", "list.txt"], stderr=subprocess.PIPE, text=True) as process:
        loop_thread.run(threaded_server.seen.frames, 9)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.strip().endswith("Interrupted.")
    # Whatever had been answered by then.
    assert ("images are kept in features.parquet.parts" in err) == _FOLDER.exists()
    threaded_server.script = Script()
    _, out, _ = nasfeat("extract", "list.txt", "--json")
    summary = json.loads(out)
    assert summary["done_before"] + summary["succeeded"] + summary["failed"] == _COUNT
    _check(pictures)


def test_other_pictures_are_another_run(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, loop_thread: LoopThread, pictures: list[str]
) -> None:
    """A run is not gone on with if its pictures, outputs or model have changed, unless it is begun anew."""
    _ends_after(threaded_server, loop_thread, 5)
    nasfeat("extract", "list.txt")
    threaded_server.script = Script()
    kept = sorted(_FOLDER.iterdir())

    code, _, err = nasfeat("extract", "in")
    assert code == 1
    assert "features.parquet.parts was begun with other pictures: among those from number 3 on" in err
    code, _, err = nasfeat("extract", "list.txt", "--outputs", "Logits")
    assert code == 1
    assert '{"outputs": []}, not {"outputs": ["Logits"]}; --restart throws it away' in err
    identity = dataclasses.replace(FAKE_MODEL.identity, weights_digest="sha256:other")
    threaded_server.model = dataclasses.replace(FAKE_MODEL, identity=identity)
    code, _, err = nasfeat("extract", "list.txt")
    assert code == 1
    assert "sha256:other" in err
    assert sorted(_FOLDER.iterdir()) == kept

    threaded_server.model = FAKE_MODEL
    assert nasfeat("extract", "list.txt", "--restart")[0] == 1
    _check(pictures)


def test_two_runs_do_not_meet(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, loop_thread: LoopThread, pictures: list[str]
) -> None:
    """The second is refused while the first is at work."""
    threaded_server.script = Script(gates={0: asyncio.Event()})
    program = (sys.executable, "-c", "from nasfeat_client.cli import run; run()")
    with subprocess.Popen([*program, "extract", "list.txt"], stderr=subprocess.DEVNULL) as process:
        loop_thread.run(threaded_server.seen.frames, 1)
        code, _, err = nasfeat("extract", "list.txt")
        process.kill()
    assert (code, err) == (1, "Error: another run is at work in features.parquet.parts\n")


def test_a_server_that_fails_every_image_ends_the_run(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, loop_thread: LoopThread, pictures: list[str]
) -> None:
    """They are not taken for bad pictures: the next run sends them again. A few among good ones are."""
    Path("many.txt").write_text("\n".join(f"in/{number % 3}.jpg" for number in range(40)))
    lost = FrameError(reason=ErrorReason.REPLICA_LOST, message="no replica has been up for 60 s")
    threaded_server.script = Script(failures={1: lost} | dict.fromkeys(range(20, 40), lost))
    code, _, err = nasfeat("extract", "many.txt")
    assert code == 1
    assert "16 images in a row failed, the last one: no replica has been up for 60 s" in err
    assert "20 images are kept" in err
    threaded_server.script = Script()
    code, out, _ = nasfeat("extract", "many.txt")
    assert code == 1
    assert "20 extracted, 20 done before (1 failed) in " in out
    assert out.endswith("wrote features.parquet, errors in features.parquet.errors.jsonl\n")
    assert pq.read_table("features.parquet").num_rows == 39


def test_an_earlier_table_stays_until_the_new_one_is_complete(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, loop_thread: LoopThread, pictures: list[str]
) -> None:
    """A run into a file that is there makes it anew."""
    Path("features.parquet").write_text("old")
    _ends_after(threaded_server, loop_thread, 5)
    nasfeat("extract", "list.txt")
    assert Path("features.parquet").read_text() == "old"
    threaded_server.script = Script()
    nasfeat("extract", "list.txt")
    _check(pictures)
