"""Rows 3, 9, 15 and 16: what the SDK's own side has to survive."""

import asyncio
import gc
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import psutil
import pytest

from nasfeat_client import (
    AsyncFeatureClient,
    ClientConfig,
    DeadlinePassedError,
    FeatureClient,
    ResumeConfig,
    RetryConfig,
    ServerUnavailableError,
)
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Script, fake_vector
from programs import FAKE, server, start_server

_WINDOW = FAKE_MODEL.limits.max_window
_QUICK = ClientConfig(resume=ResumeConfig(first_pause_s=0.02, longest_pause_s=0.1))


async def test_a_producer_that_outruns_the_network_is_held_back() -> None:
    """Row 3: frames of a MiB and a server that answers none: the SDK takes its window's, and a few on their way."""
    taken = 0

    def frames() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield os.urandom(2**20)

    script = Script(gates={0: asyncio.Event()})
    async with FakeFeatureServer(script=script) as running, AsyncFeatureClient(running.target) as client:
        stream = client.stream(frames())
        waiting = asyncio.create_task(anext(stream))
        await running.seen.frames(_WINDOW)
        memory = psutil.Process().memory_info().rss
        await asyncio.sleep(0.5)
        assert taken <= _WINDOW + 2
        assert psutil.Process().memory_info().rss - memory < 16 * 2**20
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await stream.aclose()


async def test_a_connection_that_is_recycled_costs_no_frame() -> None:
    """Row 9: a server, or what balances its load, ends every connection after a while: each frame is answered once."""
    recycling = (("grpc.max_connection_age_ms", 300), ("grpc.max_connection_age_grace_ms", 50))

    async def frames() -> AsyncIterator[bytes]:
        for number in range(1000):
            yield b"%d" % number
            await asyncio.sleep(0.002)

    async with (
        FakeFeatureServer(options=recycling) as running,
        AsyncFeatureClient(running.target, config=_QUICK) as client,
    ):
        stream = client.stream(frames())
        results = [result async for result in stream]
    assert stream.resumptions >= 2
    assert [result.frame_id for result in results] == list(range(1000))
    for result in results:
        np.testing.assert_array_equal(result.vector, fake_vector(b"%d" % result.frame_id))


async def test_a_server_that_moved_to_another_port_is_found_there() -> None:
    """Row 9: the one that had the stream is gone for good, another one is started where nothing answered before."""
    first = await start_server(*FAKE)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        later = f"127.0.0.1:{reserved.getsockname()[1]}"
    pictures = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), np.uint8)
    async with AsyncFeatureClient([first.listening, later], config=_QUICK) as client:
        stream = client.stream(iter(pictures))
        ids = [(await anext(stream)).frame_id for _ in range(100)]
        first.process.kill()
        await first.process.wait()
        async with server(*FAKE, "--listen", later):
            ids += [result.frame_id async for result in stream]
    assert ids == list(range(300))
    assert stream.resumptions == 1


def _state() -> tuple[int, int, int]:
    gc.collect()
    own = psutil.Process()
    return own.memory_info().rss, own.num_threads(), own.num_fds()


@pytest.mark.slow
async def test_ten_thousand_clients_leave_nothing() -> None:
    """Row 15: clients made, used and closed, and five hundred more with retries against a server that is dead."""
    dead = ClientConfig(
        retry=RetryConfig(max_attempts=2, first_pause_s=0.001, longest_pause_s=0.001), call_timeout_s=0.01
    )
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{reserved.getsockname()[1]}"

    async def some(count: int) -> None:
        for number in range(count):
            async with AsyncFeatureClient(running.target) as client:
                # Most of the time goes into connecting: a fifth of them does.
                if number % 5 == 0:
                    await client.model()
        for _ in range(count // 20):
            async with AsyncFeatureClient(nobody, config=dead) as client:
                # The address rests after its first refusal, longer than this has time.
                with pytest.raises((ServerUnavailableError, DeadlinePassedError)):
                    await client.model()

    async with FakeFeatureServer() as running:
        await some(500)
        memory, threads, descriptors = _state()
        await some(10_000)
        after = _state()
    assert after[0] - memory < 8 * 2**20
    # gRPC's pools breathe by a few.
    assert after[1] <= threads + 4
    assert after[2] <= descriptors + 8


_FORKING = """
import os, sys
from nasfeat_client import FeatureClient

client = FeatureClient(sys.argv[1])
if sys.argv[2] == "used":
    client.extract(b"before")
child = os.fork()
if child:
    status = os.waitpid(child, 0)[1]
    assert client.extract(b"after").ok
    client.close()
    sys.exit(os.waitstatus_to_exitcode(status))
try:
    print(client.extract(b"in the child").ok)
except RuntimeError as error:
    print(error)
client.close()
"""


@pytest.mark.parametrize(
    ("use", "said"), [("used", "this process was forked from one that had used gRPC"), ("new", "True")]
)
async def test_a_fork_works_or_says_why_not(use: str, said: str) -> None:
    """Row 16: after a call the child is told at once instead of waiting for ever; before it everything works."""
    async with FakeFeatureServer() as running:
        command = (sys.executable, "-c", _FORKING, running.target, use)
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        async with asyncio.timeout(60):
            printed, _ = await process.communicate()
    assert printed.decode().startswith(said)
    assert process.returncode == 0


def _extract(target: str) -> bool:
    with FeatureClient(target) as client:
        return client.extract(b"spawned").ok


async def test_spawned_processes_are_the_way() -> None:
    """Row 16: what the error advises works."""
    async with FakeFeatureServer() as running:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            assert await asyncio.get_running_loop().run_in_executor(pool, _extract, running.target)
