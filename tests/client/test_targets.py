"""A client of several servers: the least busy, and another one when one fails."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest

from nasfeat_client import (
    AsyncFeatureClient,
    ClientConfig,
    FeatureClient,
    InvalidRequestError,
    OverloadedError,
    ResumeConfig,
    RetryConfig,
    ServerUnavailableError,
)
from nasfeat_client._endpoint import Endpoint
from nasfeat_client._load import ServerLoad
from nasfeat_client._names import Place
from nasfeat_client._pool import ranked
from nasfeat_client.testing import FakeFeatureServer, Refusal, Script, fake_vector

CONFIG = ClientConfig(
    retry=RetryConfig(max_attempts=1), resume=ResumeConfig(first_pause_s=0.001, longest_pause_s=0.01, give_up_after_s=2)
)
DOWN = Script(refusal=Refusal(code=grpc.StatusCode.UNAVAILABLE, message="no replica is up"))
FULL = Script(refusal=Refusal(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="full"))
WRONG = Script(refusal=Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, message="wrong"))
PICTURES = [f"picture {number}".encode() for number in range(20)]


@pytest.fixture
async def servers() -> AsyncIterator[tuple[FakeFeatureServer, FakeFeatureServer]]:
    """Run two servers of the same model."""
    async with FakeFeatureServer() as one, FakeFeatureServer() as other:
        yield one, other


def _client(*servers: FakeFeatureServer) -> AsyncFeatureClient:
    return AsyncFeatureClient([server.target for server in servers], config=CONFIG)


async def test_a_call_goes_elsewhere_and_the_lost_server_rests(
    servers: tuple[FakeFeatureServer, FakeFeatureServer],
) -> None:
    """One of two is down: every call is answered, and it was asked once at most, not with each."""
    servers[0].script = DOWN
    async with _client(*servers) as client:
        for picture in PICTURES:
            np.testing.assert_array_equal((await client.extract(picture)).vector, fake_vector(picture))
    assert servers[0].seen.refused_calls <= 1


@pytest.mark.parametrize(("script", "error"), [(DOWN, ServerUnavailableError), (FULL, OverloadedError)])
async def test_if_none_answers_the_last_ones_word_is_raised(
    servers: tuple[FakeFeatureServer, FakeFeatureServer], script: Script, error: type[Exception]
) -> None:
    """Each is asked once, for calls and for streams."""
    for server in servers:
        server.script = script
    async with _client(*servers) as client:
        with pytest.raises(error):
            await client.extract(PICTURES[0])
        assert [server.seen.refused_calls for server in servers] == [1, 1]
        with pytest.raises(error):
            await anext(client.stream(PICTURES))
        assert [server.seen.refused_calls for server in servers] == [2, 2]


async def test_what_is_wrong_is_wrong_everywhere(servers: tuple[FakeFeatureServer, FakeFeatureServer]) -> None:
    """A request that one server refuses for what it is goes to no other."""
    for server in servers:
        server.script = WRONG
    async with _client(*servers) as client:
        with pytest.raises(InvalidRequestError, match="wrong"):
            await client.extract(PICTURES[0])
    assert sum(server.seen.refused_calls for server in servers) == 1


async def test_streams_go_where_least_is_under_way(servers: tuple[FakeFeatureServer, FakeFeatureServer]) -> None:
    """Six streams that stay open: three at each server."""
    async with _client(*servers) as client:
        streams = [client.stream(_endless()) for _ in range(6)]
        for stream in streams:
            assert (await anext(stream)).ok
        assert [len(server.seen.options) for server in servers] == [3, 3]
        for stream in streams:
            await stream.aclose()


async def test_a_stream_moves_when_its_server_is_lost(servers: tuple[FakeFeatureServer, FakeFeatureServer]) -> None:
    """The server with the stream dies for good: the other one answers the rest, each frame once."""
    gates = {10: asyncio.Event()}
    for server in servers:
        server.script = Script(gates=gates)
    async with _client(*servers) as client:
        stream = client.stream(PICTURES)
        results = [await anext(stream) for _ in range(10)]
        having, spare = servers if servers[0].seen.options else servers[::-1]
        await having.stop()
        gates[10].set()
        results += [result async for result in stream]
    assert [result.frame_id for result in results] == list(range(20))
    for picture, result in zip(PICTURES, results, strict=True):
        np.testing.assert_array_equal(result.vector, fake_vector(picture))
    assert stream.resumptions == 1
    assert spare.seen.frame_ids[0] == 10


def test_one_client_or_several_targets() -> None:
    """The same server twice is one; none is an error; both clients show theirs."""
    with FeatureClient(["a:1", "b:2", "a:1"]) as client:
        assert "a:1, b:2" in repr(client)
    with pytest.raises(ValueError, match="there is no target"):
        FeatureClient([])


def test_rested_servers_come_back() -> None:
    """A server that was lost is last until its rest ends; each further loss doubles it, an answer ends it."""
    now = 0.0
    endpoints = [
        Endpoint(Place(target=target), ClientConfig(), ServerLoad(), clock=lambda: now) for target in ("a:1", "b:2")
    ]

    def first() -> str:
        return ranked(endpoints, now=now, draw=lambda: 0.5)[0].target

    lost = endpoints[0]
    for rest_s in (1, 2, 4, 8, 16, 30, 30):
        lost.lost()
        assert first() == "b:2"
        now += rest_s - 0.01
        assert first() == "b:2"
        now += 0.02
        assert first() == "a:1"
    lost.lost()
    lost.answered()
    assert first() == "a:1"
    lost.lost()
    now += 1.01
    assert first() == "a:1"


async def _endless() -> AsyncIterator[bytes]:
    yield b"picture"
    await asyncio.Event().wait()
