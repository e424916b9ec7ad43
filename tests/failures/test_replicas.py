"""Rows 18 to 22: images that break the engine, devices without memory, replicas killed, hung and all dead."""

import asyncio
import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nasfeat.v1 import feature_pb2, feature_service_pb2
from nasfeat_server.app import App
from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.engines.fake import FAILING_PIXEL, HANGING_PIXEL, KILLING_PIXEL
from nasfeat_server.scheduling import limits
from serving import FAKE, connected, frame, metric, next_result, opening, pixels, running, until

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
    """Row 11: every frame is answered once and in order, both devices ran batches, each on its own cores."""
    async with running(weights="sleep:0.01", devices=("cpu:0", "cpu:1")) as app:
        cores = [set(process.cpu_affinity() or ()) for process in _replica_processes()]
        assert len(cores) == 2
        assert not cores[0] & cores[1]
        _check(await _all_streams(app))
        assert metric(app, "nasfeat_batch_size_count", device="cpu:0") > 0
        assert metric(app, "nasfeat_batch_size_count", device="cpu:1") > 0
        assert metric(app, "nasfeat_frames_total", outcome="ok", reason="") == _STREAMS * _FRAMES


async def test_a_replica_killed_in_the_middle_is_not_noticed_and_comes_back() -> None:
    """Row 20: kill -9 of one of two replicas under eight streams: no error, no frame lost or doubled, one restart."""
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
    """Row 20: with one replica, frames wait for its restart and are then answered."""
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
    """Row 20: a poison image takes three processes with it, then it alone gets an error, its mates have features."""
    results = await _poisoned(KILLING_PIXEL, FAKE)
    assert [result.WhichOneof("outcome") for result in results].count("features") == 9
    assert results[4].error.reason == feature_pb2.ERROR_REASON_REPLICA_LOST


async def test_an_image_that_hangs_replicas_fails_alone() -> None:
    """Row 21: the same for an image that never returns: the watchdog ends the process, the others are answered."""
    results = await _poisoned(HANGING_PIXEL, dataclasses.replace(FAKE, hang_s=0.3))
    assert [result.WhichOneof("outcome") for result in results].count("features") == 9
    assert results[4].error.reason == feature_pb2.ERROR_REASON_REPLICA_LOST


async def test_a_replica_that_is_stopped_under_load_is_replaced() -> None:
    """Row 21: SIGSTOP of one of two replicas under eight streams: the watchdog ends it, nobody notices."""
    async with running(weights="sleep:0.02", devices=("cpu:0", "cpu:1"), hang_s=0.5) as app:
        streaming = asyncio.ensure_future(_all_streams(app))
        await until(lambda: metric(app, "nasfeat_batch_size_sum", device="cpu:0") > 20)
        os.kill(_replica_processes()[0].pid, signal.SIGSTOP)
        _check(await streaming)
        hung = [
            metric(app, "nasfeat_replica_restarts_total", device=device, cause="hung") for device in ("cpu:0", "cpu:1")
        ]
        assert sum(hung) == 1


async def test_an_image_that_the_engine_fails_on_is_found_by_halving() -> None:
    """Row 18: in a batch of eight it fails alone; its seven mates have features, and the runs show the halving."""
    poison = pixels(0)
    poison.raw.data = bytes(FAILING_PIXEL) + poison.raw.data[3:]
    async with running(weights="sleep:0.3", max_batch_size=8) as app, connected(app) as stub:
        images = [pixels(0), *(poison if number == 3 else pixels(number) for number in range(1, 9))]
        requests = [opening(), *(frame(number, image) for number, image in enumerate(images))]
        results = [reply.result async for reply in stub.StreamFeatures(iter(requests)) if reply.HasField("result")]
        assert [result.WhichOneof("outcome") for result in results].count("features") == 8
        assert results[3].error.reason == feature_pb2.ERROR_REASON_EXECUTION_FAILED
        assert "failing pixel" in results[3].error.message
        # The sound halves of eight, four and two; and one replica all the while.
        assert metric(app, "nasfeat_batches_total", device="cpu:0", close_reason="retry") == 3
        assert metric(app, "nasfeat_replica_restarts_total", device="cpu:0", cause="killed") == 0


async def test_a_device_out_of_memory_runs_smaller_batches_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 19: memory for two of eight images: every frame is answered, the limit is told; it grows when memory does."""
    monkeypatch.setattr(limits, "FIRST_HOLD_S", 0.05)
    memory = tmp_path / "memory"
    memory.write_text("8")
    async with running(weights=f"sleep:0.01,memory:{memory}", max_batch_size=8) as app:
        assert metric(app, "nasfeat_batch_limit", device="cpu:0") == 8
        memory.write_text("2")
        _check(await _all_streams(app))
        assert metric(app, "nasfeat_batch_limit", device="cpu:0") <= 4
        assert metric(app, "nasfeat_frames_total", outcome="ok", reason="") == _STREAMS * _FRAMES
        assert metric(app, "nasfeat_replica_restarts_total", device="cpu:0", cause="killed") == 0
        memory.write_text("8")
        while metric(app, "nasfeat_batch_limit", device="cpu:0") < 8:
            _check(await _all_streams(app))


async def test_with_every_replica_dead_streams_wait_and_are_then_told() -> None:
    """Row 22: frames with a deadline hear UNAVAILABLE as it passes, the others and new calls after the outage."""
    async with running(outage_s=0.6, quarantine_after=1, quarantine_s=3600.0) as app, connected(app) as stub:
        os.kill(_replica_processes()[0].pid, signal.SIGKILL)
        await until(lambda: metric(app, "nasfeat_replica_up", device="cpu:0") == 0)
        hurried: Any = stub.StreamFeatures()
        options = feature_service_pb2.StreamOptions()
        options.frame_deadline.FromMilliseconds(100)
        await hurried.write(feature_service_pb2.StreamFeaturesRequest(options=options))
        await hurried.write(frame(0))
        patient: Any = stub.StreamFeatures()
        await patient.write(opening())
        await patient.write(frame(0))
        first = await next_result(hurried)
        assert first
        assert first.error.reason == feature_pb2.ERROR_REASON_REPLICA_LOST
        assert first.error.code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert "the deadline passed" in first.error.message
        second = await next_result(patient)
        assert second
        assert second.error.reason == feature_pb2.ERROR_REASON_REPLICA_LOST
        assert "no replica has been up for 0.6 s" in second.error.message
        late: Any = stub.StreamFeatures()
        await late.write(opening())
        with pytest.raises(grpc.aio.AioRpcError, match="no replica has been up") as caught:
            await late.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        health: Any = health_pb2_grpc.HealthStub(late_channel := grpc.aio.insecure_channel(str(app.listening)))
        status = (await health.Check(health_pb2.HealthCheckRequest())).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        await late_channel.close()
        hurried.cancel()
        patient.cancel()


async def test_a_server_recovers_from_an_outage() -> None:
    """Row 22: the replica comes back after the outage was told: the same stream is served again."""
    async with running(outage_s=0.01) as app, connected(app) as stub:
        call: Any = stub.StreamFeatures()
        await call.write(opening())
        await call.read()
        os.kill(_replica_processes()[0].pid, signal.SIGKILL)
        await until(lambda: metric(app, "nasfeat_replica_up", device="cpu:0") == 0)
        await call.write(frame(0))
        told = await next_result(call)
        assert told
        assert told.HasField("error")
        await until(lambda: metric(app, "nasfeat_replica_up", device="cpu:0") == 1)
        await call.write(frame(1))
        answered = await next_result(call)
        assert answered
        assert answered.HasField("features")
        call.cancel()
