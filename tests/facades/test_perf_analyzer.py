"""Triton's own load generator finds its way about the server, as it does about Triton."""

import asyncio
import os
from pathlib import Path

import pytest

from inference import NAME
from serving import metric, running

_PROGRAM = Path(__file__).parents[2] / "build/perf_analyzer/perf_analyzer"


def _require() -> None:
    if not _PROGRAM.exists():
        message = "perf_analyzer is missing: scripts/install_perf_analyzer.sh installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--streaming",), ("-b", "4")], ids=["unary", "stream", "batches"])
async def test_perf_analyzer_measures_the_server(options: tuple[str, ...], tmp_path: Path) -> None:
    """It reads metadata, configuration and statistics, sends requests of its own making and reports no error."""
    _require()
    table = tmp_path / "table.csv"
    async with running() as app:
        process = await asyncio.create_subprocess_exec(
            *(str(_PROGRAM), "-m", NAME, "-u", str(app.listening), "-i", "grpc", "--concurrency-range", "4"),
            # Three windows of so many requests, however fast they are, and however far apart.
            *("--measurement-mode", "count_windows", "--measurement-request-count", "50", "-r", "3", "-s", "1000"),
            *("-f", str(table), *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0, said
        ended = metric(app, "nasfeat_frames_total", outcome="ok", reason="")
        assert metric(app, "nasfeat_in_flight_frames") == 0
    assert "Avg request latency" in said
    header, row = table.read_text().splitlines()[:2]
    measured = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(measured["Inferences/Second"]) > 0
    assert ended >= 3 * 50
