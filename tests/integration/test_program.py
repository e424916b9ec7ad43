"""The `nasfeat-server` program: starts, refuses to start, stops."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import urllib.request

import grpc.aio
import psutil
import pytest

from nasfeat.v1 import feature_service_pb2_grpc
from programs import FAKE, SERVER, start_server
from serving import frame, next_result, opening


async def test_sigterm_answers_what_is_in_flight_and_ends_with_0() -> None:
    """SIGTERM with frames in flight on an open stream: each is answered, the stream is told, the exit code is 0."""
    running = await start_server(*FAKE, "--weights", "sleep:0.1", "--max-batch", "1")
    async with grpc.aio.insecure_channel(running.listening) as channel:
        call = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        for request in (opening(), *(frame(number) for number in range(10))):
            await call.write(request)
        results = [await next_result(call)]
        running.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(grpc.aio.AioRpcError):
            while result := await next_result(call):
                results.append(result)
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert "the server is stopping" in await call.details()
    assert [result.frame_id for result in results if result] == list(range(len(results)))
    assert len(results) > 1
    assert await running.process.wait() == 0


async def test_a_stream_that_does_not_end_is_cut_after_the_grace() -> None:
    """Work that takes longer than the grace does not hold the server up, and the exit code is still 0."""
    running = await start_server(*FAKE, "--weights", "sleep:30", "--grace", "0.2")
    async with grpc.aio.insecure_channel(running.listening) as channel:
        call = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
        for request in (opening(), frame(0)):
            await call.write(request)
        await call.read()
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0


async def test_a_killed_server_takes_its_replicas_with_it() -> None:
    """Kill -9 of the server: its replicas see the socket close and end by themselves."""
    running = await start_server(*FAKE)
    replicas = running.replicas()
    running.process.kill()
    await running.process.wait()
    assert replicas
    assert not psutil.wait_procs(replicas, timeout=30)[1]


async def test_metrics_are_served_over_http() -> None:
    """The metrics port answers with the families that the documentation names, and nothing of Python's globals."""
    running = await start_server(*FAKE)
    response = await asyncio.to_thread(urllib.request.urlopen, f"http://{running.metrics}/metrics")
    with response:
        text = response.read().decode()
    for family in (
        "nasfeat_frames_total",
        "nasfeat_stage_seconds",
        "nasfeat_requests_total",
        "nasfeat_queue_depth",
        "nasfeat_queue_capacity",
        "nasfeat_in_flight_frames",
        "nasfeat_streams",
        "nasfeat_batch_size",
        "nasfeat_batches_total",
        "nasfeat_device_busy_seconds_total",
        "nasfeat_replica_up",
        "nasfeat_replica_restarts_total",
        "nasfeat_model_info",
        "nasfeat_build_info",
        "process_resident_memory_bytes",
    ):
        assert family in text
    running.process.terminate()
    assert await running.process.wait() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--devices", "tpu:0"), "device 'tpu:0' is not of the form cpu:N or gpu:N"),
        (("--listen", "nowhere"), "'nowhere' is not HOST:PORT"),
        (("--max-batch", "3", "--grace", "-1"), "--grace: -1.0 is not in the range x>=0."),
        (("--max-batch", "3", "--grace", "-1"), "--max-batch: the largest batch must be a power of two, not 3"),
        (("--weights", "/nowhere"), "not '/nowhere'"),
        (("--variant", "huge"), "no variant 'huge'; the variants are large, mobile, cifar, or a .json file"),
    ],
)
def test_what_cannot_start_says_why_and_ends_with_2(options: tuple[str, ...], message: str) -> None:
    """A wrong setting is named with what is allowed, on the last line, without a traceback."""
    ended = subprocess.run([SERVER, *FAKE, *options], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert message in ended.stderr.replace("\n", " ")
    assert "Traceback" not in ended.stderr


async def test_a_port_in_use_is_found_before_anything_is_loaded() -> None:
    """A second server on the same port is refused at once instead of sharing the first one's clients."""
    running = await start_server(*FAKE)
    second = await asyncio.create_subprocess_exec(
        SERVER, *FAKE, "--listen", running.listening, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await second.communicate()
    running.process.terminate()
    assert (second.returncode, await running.process.wait()) == (2, 0)
    assert f"cannot listen on {running.listening}" in errors.decode()


def test_the_server_process_imports_no_framework() -> None:
    """TensorFlow, Keras and NumPy's heavy friends stay in the replicas."""
    code = "import sys, nasfeat_server.cli; print(*(m for m in ('tensorflow', 'keras', 'jax') if m in sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert not ended.stdout.strip()
