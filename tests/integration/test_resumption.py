"""Streams of the SDK whose real server dies and comes back."""

import asyncio
import contextlib
import itertools
import re
import urllib.request
from collections.abc import AsyncIterator

import numpy as np
import pytest

from nasfeat_client import AsyncFeatureClient, ClientConfig, Frame, ResumeConfig, StreamOptions
from nasfeat_server.engine.fake import fingerprint
from programs import FAKE, RunningServer, start_server

_FRAMES = 5000
_LENGTH = 768
_QUICK = ClientConfig(resume=ResumeConfig(longest_pause_s=0.2))


def _picture(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)


async def _again(killed: RunningServer) -> RunningServer:
    """Start a server where another one, which is dead, listened."""
    return await start_server(*FAKE, "--listen", killed.listening)


async def _having_the_stream(servers: list[RunningServer]) -> RunningServer:
    """Find the server whose metrics show a stream."""
    for server in servers:
        response = await asyncio.to_thread(urllib.request.urlopen, f"http://{server.metrics}/metrics")
        with response:
            if re.search(r"^nasfeat_streams\{.*\} 1\.0$", response.read().decode(), re.MULTILINE):
                return server
    raise AssertionError("no server has a stream")


@pytest.mark.parametrize(("targets", "per_message"), [(1, 8), (2, 1)])
@pytest.mark.slow
async def test_thousands_of_frames_survive_three_kills(targets: int, per_message: int) -> None:
    """Kill -9 of the servers in turn: the caller sees every frame once, in order, with its own vector."""
    servers = [await start_server(*FAKE) for _ in range(targets)]
    kills = iter((500, 2000, 3500))
    due = next(kills)
    async with AsyncFeatureClient([server.listening for server in servers], config=_QUICK) as client:
        stream = client.stream(map(_picture, range(_FRAMES)), StreamOptions(frames_per_message=per_message))
        ids = []
        async for result in stream:
            ids.append(result.frame_id)
            expected = fingerprint(_picture(result.frame_id)[np.newaxis], _LENGTH)[0]
            np.testing.assert_array_equal(result.vector, expected)
            if len(ids) == due:
                having = await _having_the_stream(servers)
                servers.remove(having)
                having.process.kill()
                await having.process.wait()
                servers.append(await _again(having))
                due = next(kills, _FRAMES + 1)
    assert ids == list(range(_FRAMES))
    assert stream.resumptions == 3
    for server in servers:
        server.process.terminate()
        assert await server.process.wait() == 0


async def test_a_server_that_is_stopped_in_order_loses_nothing_either() -> None:
    """SIGTERM while a camera runs: the frames that the old server did not take go to the new one."""
    running = await start_server(*FAKE)
    stop = asyncio.Event()

    async def camera() -> AsyncIterator[Frame]:
        for number in itertools.count():
            if stop.is_set():
                return
            yield Frame(_picture(number))
            await asyncio.sleep(0.001)

    async with AsyncFeatureClient(running.listening, config=_QUICK) as client:
        stream = client.stream(camera())
        ids = []
        async with contextlib.aclosing(stream):
            async for result in stream:
                ids.append(result.frame_id)
                assert result.ok
                if len(ids) == 100:
                    running.process.terminate()
                    assert await running.process.wait() == 0
                    running = await _again(running)
                if len(ids) == 300:
                    stop.set()
    assert ids == list(range(len(ids)))
    assert len(ids) >= 300
    assert stream.resumptions == 1
    running.process.kill()
    await running.process.wait()
