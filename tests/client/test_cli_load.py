"""`nasfeat load`: the load that it puts on a server, and what it says of it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasfeat_client import DropReason, ErrorReason, FrameError
from nasfeat_client.cli.load import Measured, Plan, run_load
from nasfeat_client.testing import FakeFeatureServer, Script
from nasfeat_client.types import StreamOptions

Nasfeat = Callable[..., tuple[int, str, str]]


def _loaded(nasfeat: Nasfeat, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = nasfeat("load", "--json", *arguments)
    return code, json.loads(out)


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_a_rate_is_kept(nasfeat: Nasfeat, threaded_server: FakeFeatureServer, arrivals: str) -> None:
    """So many frames a second over all streams, for so long, each answered; the seed decides what is random."""
    options = ("-n", "4", "-r", "200", "-d", "1", "--arrivals", arrivals)
    code, report = _loaded(nasfeat, *options)
    assert code == 0
    # Of 200 Poisson arrivals the deviation is 14.
    due = report["sent"] + report["unsent"]
    assert abs(due - 200) <= (4 if arrivals == "constant" else 60)
    # How many of the last are in time is the machine's matter.
    assert report["sent"] > 100
    assert report["outcomes"] == {"ok": report["sent"]}
    assert report["answered"] == report["sent"]
    assert report["elapsed_s"] > 0.9
    assert len(threaded_server.seen.options) == 4
    assert set(report["latency_s"]) == {"p50", "p90", "p99", "p99.9", "max"}
    assert report["mean_stages_s"]["execute_s"] == pytest.approx(0.002)
    again = _loaded(nasfeat, *options)[1]
    assert again["sent"] + again["unsent"] == due


def test_without_a_rate_windows_are_filled(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """As many frames as there is room for."""
    code, report = _loaded(nasfeat, "-n", "2", "-d", "0.5", "--window", "4")
    assert code == 0
    assert report["sent"] > 50
    assert threaded_server.seen.most_in_flight == 4


def test_latency_counts_from_when_a_frame_was_due() -> None:
    """A server that stops for half a second is not excused by the frames that were held back meanwhile."""

    async def stopped() -> Measured:
        gate = asyncio.Event()
        measured = Measured()
        plan = Plan(streams=1, rate=100, poisson=False, duration_s=1, options=StreamOptions(window=1))
        async with FakeFeatureServer(script=Script(gates={20: gate})) as server:
            loading = asyncio.create_task(run_load([server.target], plan, [b"a"], measured))
            await server.seen.frames(21)
            await asyncio.sleep(0.5)
            gate.set()
            await loading
        return measured

    measured = asyncio.run(stopped())
    late = [latency_s for latency_s in measured.latencies_s if latency_s > 0.1]
    # One frame waited for its answer, and each of the forty that were due in the first four fifths of that time.
    assert len(late) > 25
    assert max(late) >= 0.5
    assert measured.sent + measured.unsent == pytest.approx(100, abs=2)


def test_frames_without_room_are_counted(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """Due and never sent is not the same as never due."""
    code, report = _loaded(nasfeat, "-n", "1", "-r", "20000", "-d", "0.5", "--window", "1")
    assert code == 0
    assert report["unsent"] > 1000
    assert report["sent"] + report["unsent"] == pytest.approx(10_000, abs=2)


def test_failures_and_drops_are_told_apart(
    nasfeat: Nasfeat, threaded_server: FakeFeatureServer, tmp_path: Path
) -> None:
    """Dropped frames are what a policy wants; a frame that fails makes the exit code 1. The report goes to a file."""
    threaded_server.script = Script(
        failures={3: FrameError(reason=ErrorReason.EXECUTION_FAILED, message="no")}, drops={1: DropReason.SUPERSEDED}
    )
    options = ("-n", "1", "-r", "50", "-d", "0.3", "--policy", "latest_only")
    code, report = _loaded(nasfeat, *options, "--report", "report.json")
    assert code == 1
    assert report["outcomes"] == {"ok": report["sent"] - 2, "dropped": 1, "EXECUTION_FAILED": 1}
    assert json.loads(Path("report.json").read_text()) == report
    assert report["plan"]["options"]["overload_policy"] == "LATEST_ONLY"
    threaded_server.script = Script(drops={1: DropReason.SUPERSEDED})
    assert _loaded(nasfeat, *options)[0] == 0


def test_pictures_may_be_the_source(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """Files instead of noise; the table for people has their latencies."""
    code, out, _ = nasfeat("load", "a.jpg", "b.jpg", "-r", "40", "-d", "0.3")
    assert code == 0
    assert "latency p99" in out
    assert "in the server: execute" in out
    code, _, err = nasfeat("load", "none.jpg", "-d", "0.1")
    assert (code, err) == (1, "Error: cannot read none.jpg: No such file or directory\n")


def test_a_server_that_is_lost_is_told(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """A stream that fails is named in the report, with why."""
    threaded_server.script = Script(results_before_end=3)
    code, report = _loaded(nasfeat, "-n", "1", "-r", "50", "-d", "0.3", "--window", "1")
    assert code == 1
    ((failure, count),) = report["failures"].items()
    assert count == 1
    assert threaded_server.target in failure


def test_the_live_table_is_for_terminals(nasfeat: Nasfeat, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows what happens while it happens."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    _, _, err = nasfeat("load", "-r", "50", "-d", "0.7")
    assert "on their way" in err
