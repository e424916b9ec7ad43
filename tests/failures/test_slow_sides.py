"""Rows 2, 3 and 14: readers that do not read, producers that outrun everything, and streams that never end."""

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc.aio
import psutil
import pytest

from nasfeat.v1 import feature_service_pb2_grpc
from nasfeat_client import AsyncFeatureClient, StreamOptions
from programs import FAKE, server
from serving import connected, frame, metric, opening, pixels, running, until

_FRAMES = 10_000
# By hand a million, which takes some minutes: the memory is as steady.
_LONG_STREAM = 10_000


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


async def test_a_stream_that_is_not_read_stops_being_read() -> None:
    """Row 2: ten thousand large frames and no reader: they stay with the client, the server's memory is bounded."""
    options = ("--engine", "fake", "--weights", "random:0", "--max-window", "4", "--slots", "16", *FAKE[-4:])
    async with server(*options) as program, grpc.aio.insecure_channel(program.listening) as channel:
        process = psutil.Process(program.process.pid)
        before = _megabytes(process)
        call: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        await call.write(opening())
        sent = 0

        async def send() -> None:
            nonlocal sent
            for number in range(_FRAMES):
                await call.write(frame(number, pixels(number, size=331)))
                sent += 1

        sending = asyncio.ensure_future(send())
        # The transport buffers some replies; when they are full, nothing moves any more.
        seen = -1
        while seen != sent and not sending.done():
            seen = sent
            await asyncio.wait((sending,), timeout=1)
        assert not sending.done()
        assert sent < 2000
        # The window's frames, the transport's buffers and the arena: not the gigabytes that were to be sent.
        assert _megabytes(process) - before < 100
        sending.cancel()
        call.cancel()


class _Source:
    """An endless producer that counts what was taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.taken += 1
            yield self.taken.to_bytes(4, "big") * 1000


async def test_a_producer_that_outruns_the_server_waits_in_the_sdk() -> None:
    """Row 3: an endless source, a slow server and a caller that takes its time: the SDK takes a window and no more."""
    async with (
        running(weights="sleep:0.2", max_batch_size=1) as app,
        AsyncFeatureClient(str(app.listening)) as client,
    ):
        source = _Source()
        stream = client.stream(source, StreamOptions(window=6))
        for number in range(3):
            await anext(stream)
            assert source.taken <= number + 1 + 6
        # The caller rests: results come, and nothing more is taken for them.
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 0)
        assert source.taken <= 3 + 6
        await stream.aclose()


@pytest.mark.slow
async def test_a_long_stream_costs_no_more_at_its_end() -> None:
    """Row 14: ten thousand frames on one stream: the server's memory is what it was after the first thousand."""
    async with server(*FAKE) as program, grpc.aio.insecure_channel(program.listening) as channel:
        process = psutil.Process(program.process.pid)
        call: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        await call.write(opening(delivery_order=2))
        sending = asyncio.ensure_future(_send_all(call, _LONG_STREAM))
        results, after_warm_up = 0, 0.0
        while (reply := await call.read()) is not grpc.aio.EOF:
            results += reply.HasField("result")
            if results == _LONG_STREAM // 10:
                after_warm_up = _megabytes(process)
        await sending
        assert results == _LONG_STREAM
        assert _megabytes(process) < 1.05 * after_warm_up + 2


async def _send_all(call: Any, count: int) -> None:
    for number in range(count):
        await call.write(frame(number, pixels(number % 60_000)))
    await call.done_writing()


async def test_closing_never_hangs_behind_a_long_stream() -> None:
    """Row 14: a client that stops reading in the middle, and then the server: both end within their grace."""
    async with running(grace_s=0.5) as app, connected(app) as stub:
        call: Any = stub.StreamFeatures()
        await call.write(opening())
        sending = asyncio.ensure_future(_send_all(call, _LONG_STREAM))
        await until(lambda: metric(app, "nasfeat_results_total", source="computed") > 100)
    sending.cancel()
