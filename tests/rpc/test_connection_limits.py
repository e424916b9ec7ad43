"""How long a connection lasts, and what it carries."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import numpy as np
import pytest

from nasfeat.v1 import feature_service_pb2
from nasfeat_client import AsyncFeatureClient, ClientConfig, Frame, ResumeConfig
from nasfeat_server.config import ConnectionLimits
from nasfeat_server.errors import ConfigurationError
from serving import connected, opening, running, until

_QUICK = ClientConfig(resume=ResumeConfig(longest_pause_s=0.1))


async def test_no_frame_is_lost_over_connections_that_are_recycled() -> None:
    """The SDK's stream goes on over one connection after another: every frame is answered once, in order."""
    limits = ConnectionLimits(max_age_s=0.3, age_grace_s=0.1)
    stop = asyncio.Event()

    async def camera() -> AsyncIterator[Frame]:
        for number in itertools.count():
            if stop.is_set():
                return
            yield Frame(np.full((32, 32, 3), number % 256, np.uint8))
            await asyncio.sleep(0.001)

    async with running(connections=limits) as app, AsyncFeatureClient(str(app.listening), config=_QUICK) as client:
        stream = client.stream(camera())
        ids = []
        async for result in stream:
            assert result.ok
            ids.append(result.frame_id)
            if stream.resumptions == 3:
                stop.set()
    assert stream.resumptions >= 3
    assert ids == list(range(len(ids)))


async def test_an_idle_connection_is_closed() -> None:
    """One without a call; the next call opens another."""
    limits = ConnectionLimits(max_idle_s=0.2)
    async with running(connections=limits) as app, grpc.aio.insecure_channel(str(app.listening)) as channel:
        await channel.channel_ready()
        state = channel.get_state()
        while state is grpc.ChannelConnectivity.READY:
            await channel.wait_for_state_change(state)
            state = channel.get_state()
        assert state is grpc.ChannelConnectivity.IDLE


async def test_a_connection_carries_no_more_calls_than_it_may() -> None:
    """The calls above the limit wait at the client, and begin when others have ended."""
    limits = ConnectionLimits(max_calls=2)
    granted: list[Any] = []
    ended = []
    release = asyncio.Semaphore(0)

    async def stream(stub: Any) -> None:
        call = stub.StreamFeatures()
        await call.write(opening())
        assert (await call.read()).HasField("granted")
        granted.append(call)
        await release.acquire()
        call.cancel()
        ended.append(call)

    async with running(connections=limits) as app, connected(app) as stub:
        # The client learns of the limit with the connection.
        await stub.GetModel(feature_service_pb2.GetModelRequest())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(6):
                tasks.create_task(stream(stub))
            for released in range(6):
                await until(lambda: len(granted) == min(6, len(ended) + 2))
                release.release()
                await until(lambda: len(ended) == released + 1)  # noqa: B023 - it is waited for in the same turn


@pytest.mark.slow
async def test_who_connects_and_says_nothing_is_let_go() -> None:
    """After 20 seconds, where gRPC would wait for two minutes."""
    async with running() as app:
        host, _, port = str(app.listening).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(60):
            while await reader.read(2**16):
                pass
        writer.close()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"max_age_s": -1}, "age must be 0"),
        ({"age_grace_s": 0}, "over 0 seconds left"),
        ({"max_idle_s": -1}, "idle time must be 0"),
        ({"max_calls": 0}, "1 call or more"),
    ],
)
def test_limits_that_cannot_be_are_refused(wrong: dict[str, int], complaint: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match=complaint):
        ConnectionLimits(**wrong)
