"""Row 26: what clients may choose freely does not become series."""

import asyncio
from typing import Any

import grpc.aio
import pytest

from nasfeat_server.app import App
from serving import connected, frame, next_result, opening, running

_SEEN = 10_000
_AT_ONCE = 100


async def _scrape(app: App) -> list[str]:
    """Read the metrics as a scraper does; gives the lines that are series."""
    text, _ = await asyncio.to_thread(app._metrics.exposition, "")
    return [line for line in text.decode().splitlines() if not line.startswith("#")]


async def _stream(stub: Any, number: int, *, frames: int) -> None:
    """Open a stream under an id of its own, and end it."""
    call = stub.StreamFeatures()
    await call.write(opening(stream_id=f"camera-{number}"))
    for frame_id in range(frames):
        await call.write(frame(number + frame_id))
        await next_result(call)
    await call.done_writing()
    while await call.read() is not grpc.aio.EOF:
        pass


@pytest.mark.slow
async def test_a_scrape_after_ten_thousand_stream_ids_has_no_series_more() -> None:
    """Row 26: the series after 10,000 streams, each under its own id, are those after the first few."""
    async with running() as app, connected(app) as stub:
        for number in range(3):
            await _stream(stub, number, frames=2)
        before = await _scrape(app)
        numbers = iter(range(3, _SEEN))

        async def client() -> None:
            for number in numbers:
                await _stream(stub, number, frames=number % 20 == 0)

        await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
        after = await _scrape(app)
        assert "nasfeat_stream_seconds_count 10000.0" in after
    assert _series(after) == _series(before)
    assert not [line for line in after if "camera" in line]


def _series(lines: list[str]) -> set[str]:
    """Give the series without their values; those of batches by why they were closed depend on what came when."""
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("nasfeat_batches_total")}
