"""What a whole server shows of itself."""

import asyncio
import time
from typing import Any

import psutil
import pytest

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.app import App
from serving import connected, frame, metric, next_result, opening, running, until

_OVERLOADS = {
    "block": feature_service_pb2.OVERLOAD_POLICY_BLOCK,
    "drop_oldest": feature_service_pb2.OVERLOAD_POLICY_DROP_OLDEST,
    "latest_only": feature_service_pb2.OVERLOAD_POLICY_LATEST_ONLY,
    "reject": feature_service_pb2.OVERLOAD_POLICY_REJECT,
}


def _replica() -> psutil.Process:
    [replica] = [child for child in psutil.Process().children() if "nasfeat_server.engine.worker" in child.cmdline()]
    return replica


async def _memory(app: App) -> float:
    return await asyncio.to_thread(metric, app, "nasfeat_replica_memory_bytes", device="cpu:0")


@pytest.mark.parametrize("overload", _OVERLOADS)
async def test_open_streams_are_shown_by_their_policy(overload: str) -> None:
    """One while it is open, under the policy that it asked for; none afterwards, and its length is counted."""
    async with running() as app, connected(app) as stub:
        call: Any = stub.StreamFeatures()
        await call.write(opening(overload_policy=_OVERLOADS[overload]))
        await call.read()
        shown = {name: metric(app, "nasfeat_streams", overload=name) for name in _OVERLOADS}
        assert shown == {name: float(name == overload) for name in _OVERLOADS}
        await call.done_writing()
        await until(lambda: metric(app, "nasfeat_streams", overload=overload) == 0)
        assert metric(app, "nasfeat_stream_seconds_count") == 1


async def test_the_age_of_results_is_from_capture_to_answer() -> None:
    """Of three frames two say when they were captured, one of them a minute ago."""
    async with running() as app, connected(app) as stub:
        call: Any = stub.StreamFeatures()
        await call.write(opening())
        for number, age_s in enumerate((None, 0, 60)):
            request = frame(number)
            if age_s is not None:
                request.frame.capture_time.FromNanoseconds(time.time_ns() - age_s * 10**9)
            await call.write(request)
            await next_result(call)
        await until(lambda: metric(app, "nasfeat_frames_total", outcome="ok", reason="") == 3)
        assert metric(app, "nasfeat_result_age_seconds_count") == 2
        assert 60 <= metric(app, "nasfeat_result_age_seconds_sum") < 120
        assert metric(app, "nasfeat_result_age_seconds_bucket", le="60.0") == 1


async def test_batches_show_how_full_they_were_and_when_the_last_one_was() -> None:
    """A frame alone, where four would have fitted."""
    before = time.time()
    async with running(max_batch_size=4) as app, connected(app) as stub:
        assert metric(app, "nasfeat_last_batch_timestamp_seconds", device="cpu:0") == 0
        call: Any = stub.StreamFeatures()
        for request in (opening(), frame(0)):
            await call.write(request)
        await next_result(call)
        assert before <= metric(app, "nasfeat_last_batch_timestamp_seconds", device="cpu:0") <= time.time()
        assert metric(app, "nasfeat_batch_fill_ratio_sum", device="cpu:0") == 0.25


async def test_readiness_is_what_health_checks_are_told() -> None:
    """1 with a warm replica, 0 while it starts again, 0 from the first moment of stopping."""
    async with running() as app:
        await until(lambda: metric(app, "nasfeat_ready") == 1)
        _replica().kill()
        await until(lambda: metric(app, "nasfeat_ready") == 0)
        await until(lambda: metric(app, "nasfeat_ready") == 1)
    assert metric(app, "nasfeat_ready") == 0


async def test_the_memory_of_replicas_is_that_of_the_processes_that_live() -> None:
    """Megabytes for one; when it is killed those of the next one in its place; nothing when all have ended."""
    async with running() as app:
        first = _replica()
        one = await _memory(app)
        assert 2**20 < one < 2**30
        first.kill()
        await until(lambda: metric(app, "nasfeat_replica_restarts_total", device="cpu:0", cause="killed") == 1)
        await until(lambda: metric(app, "nasfeat_replica_up", device="cpu:0") == 1)
        assert 2**20 < await _memory(app) < 1.5 * one
    assert await _memory(app) == 0
