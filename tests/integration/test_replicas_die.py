"""Replicas killed, hung and poisoned under load: the streams never notice."""

import asyncio
import dataclasses
import os
import signal

import psutil

from nasfeat.v1 import feature_pb2, feature_service_pb2
from nasfeat_server.app import App
from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.engines.fake import HANGING_PIXEL, KILLING_PIXEL
from serving import FAKE, connected, frame, metric, opening, pixels, running, until

_FRAMES = 60
_STREAMS = 8


def _replica_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "nasfeat_server.engine.worker" in child.cmdline()]


async def _stream(app: App, count: int) -> list[feature_service_pb2.FrameResult]:
    """Send `count` frames over a stream of their own and give the results in the order of arrival."""
    async with connected(app) as stub:
        requests = [opening(), *(frame(number) for number in range(count))]
        return [reply.result async for reply in stub.StreamFeatures(iter(requests)) if reply.HasField("result")]


async def _all_streams(app: App) -> list[list[feature_service_pb2.FrameResult]]:
    return list(await asyncio.gather(*(_stream(app, _FRAMES) for _ in range(_STREAMS))))


def _check(streams: list[list[feature_service_pb2.FrameResult]]) -> None:
    for results in streams:
        assert [result.frame_id for result in results] == list(range(_FRAMES))
        assert all(result.HasField("features") for result in results)


async def test_two_replicas_share_eight_streams() -> None:
    """Every frame is answered once and in order, both devices ran batches, each on its own cores."""
    async with running(weights="sleep:0.01", devices=("cpu:0", "cpu:1")) as app:
        cores = [set(process.cpu_affinity() or ()) for process in _replica_processes()]
        assert len(cores) == 2
        assert not cores[0] & cores[1]
        _check(await _all_streams(app))
        assert metric(app, "nasfeat_batch_size_count", device="cpu:0") > 0
        assert metric(app, "nasfeat_batch_size_count", device="cpu:1") > 0
        assert metric(app, "nasfeat_frames_total", outcome="ok", reason="") == _STREAMS * _FRAMES


async def test_a_replica_killed_in_the_middle_is_not_noticed_and_comes_back() -> None:
    """Kill -9 of one of two replicas under eight streams: no error, no frame lost or doubled, and a restart counted."""
    async with running(weights="sleep:0.02", devices=("cpu:0", "cpu:1")) as app:
        streaming = asyncio.ensure_future(_all_streams(app))
        await until(lambda: metric(app, "nasfeat_batch_size_sum", device="cpu:0") > 40)
        os.kill(_replica_processes()[0].pid, signal.SIGKILL)
        _check(await streaming)
        restarts = [
            metric(app, "nasfeat_replica_restarts_total", device=device, cause="killed")
            for device in ("cpu:0", "cpu:1")
        ]
        assert sum(restarts) == 1
        await until(lambda: all(metric(app, "nasfeat_replica_up", device=device) for device in ("cpu:0", "cpu:1")))
        _check(await _all_streams(app))


async def test_the_only_replica_killed_makes_streams_wait_and_no_more() -> None:
    """With one replica, frames wait for its restart and are then answered."""
    async with running(weights="sleep:0.02") as app:
        streaming = asyncio.ensure_future(_all_streams(app))
        await until(lambda: metric(app, "nasfeat_batch_size_sum", device="cpu:0") > 40)
        os.kill(_replica_processes()[0].pid, signal.SIGKILL)
        _check(await streaming)


async def _poisoned(pixel: tuple[int, int, int], config: ServerConfig) -> list[feature_service_pb2.FrameResult]:
    """Send ten frames, the fifth of them poison, through `config`."""
    poison = pixels(0)
    poison.raw.data = bytes(pixel) + poison.raw.data[3:]
    images = [pixels(number) if number != 4 else poison for number in range(10)]
    async with running(config, devices=("cpu:0", "cpu:1")) as app, connected(app) as stub:
        requests = [opening(), *(frame(number, image) for number, image in enumerate(images))]
        return [reply.result async for reply in stub.StreamFeatures(iter(requests)) if reply.HasField("result")]


async def test_an_image_that_kills_replicas_fails_alone() -> None:
    """A poison image takes three processes with it, then it alone gets an error; its batch mates have features."""
    results = await _poisoned(KILLING_PIXEL, FAKE)
    assert [result.WhichOneof("outcome") for result in results].count("features") == 9
    assert results[4].error.reason == feature_pb2.ERROR_REASON_REPLICA_LOST


async def test_an_image_that_hangs_replicas_fails_alone() -> None:
    """The same for an image that never returns: the watchdog ends the process, the others are answered."""
    results = await _poisoned(HANGING_PIXEL, dataclasses.replace(FAKE, hang_s=0.3))
    assert [result.WhichOneof("outcome") for result in results].count("features") == 9
    assert results[4].error.reason == feature_pb2.ERROR_REASON_REPLICA_LOST
