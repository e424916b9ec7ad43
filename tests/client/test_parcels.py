"""Frames that travel together, as the SDK sends them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from nasfeat_client import AsyncFeatureClient, ClientConfig, Frame, StreamOptions
from nasfeat_client.testing import FakeFeatureServer, Script, fake_vector

PICTURES = [f"picture {number}".encode() for number in range(10)]


async def test_frames_go_out_in_messages_of_so_many(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """Ten pictures, four a message: 4, 4 and the rest; each has its own result."""
    results = [result async for result in client.stream(PICTURES, StreamOptions(frames_per_message=4))]
    assert server.seen.frames_per_message == [4, 4, 2]
    assert server.seen.options[0].frames_per_message == 4
    assert [result.frame_id for result in results] == list(range(10))
    for picture, result in zip(PICTURES, results, strict=True):
        np.testing.assert_array_equal(result.vector, fake_vector(picture))


async def test_by_default_each_has_its_own_message(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """A camera's frame waits for no other."""
    assert len([result async for result in client.stream(PICTURES)]) == 10
    assert server.seen.frames_per_message == [1] * 10


async def test_a_window_that_is_full_sends_what_there_is(server: FakeFeatureServer) -> None:
    """Three frames may be in flight: nothing waits for a fourth that cannot come."""
    async with AsyncFeatureClient(server.target, config=ClientConfig(window=3)) as client:
        results = [result async for result in client.stream(PICTURES, StreamOptions(frames_per_message=4))]
    assert len(results) == 10
    assert sum(server.seen.frames_per_message) == 10
    assert max(server.seen.frames_per_message) <= 3
    assert server.seen.most_in_flight <= 3


async def test_a_message_is_not_larger_than_allowed(server: FakeFeatureServer) -> None:
    """Pictures of 30 kB, messages of 100 kB: three travel together, though eight might."""
    pictures = [bytes(30_000)] * 8
    config = ClientConfig(max_message_bytes=100_000)
    async with AsyncFeatureClient(server.target, config=config) as client:
        results = [result async for result in client.stream(pictures, StreamOptions(frames_per_message=8))]
    assert [result.ok for result in results] == [True] * 8
    assert server.seen.frames_per_message == [3, 3, 2]


async def test_bad_pictures_among_them_fail_alone(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """A path that is not there is no reason to hold the others up."""
    pictures: list[bytes | str] = [PICTURES[0], "missing.jpg", PICTURES[1]]
    results = [result async for result in client.stream(pictures, StreamOptions(frames_per_message=8))]
    assert [result.ok for result in results] == [True, False, True]
    assert server.seen.frames_per_message == [2]


async def test_what_was_taken_before_a_failure_of_the_source_is_sent(
    server: FakeFeatureServer, client: AsyncFeatureClient
) -> None:
    """Two frames wait for a third when the camera breaks: they get their results, then the caller its error."""

    async def camera() -> AsyncIterator[Frame]:
        for number in (0, 1):
            yield Frame(PICTURES[number])
        raise OSError("unplugged")

    results = client.stream(camera(), StreamOptions(frames_per_message=8))
    assert [(await anext(results)).frame_id, (await anext(results)).frame_id] == [0, 1]
    with pytest.raises(OSError, match="unplugged"):
        await anext(results)
    assert server.seen.frames_per_message == [2]


async def test_a_window_that_shrinks_while_frames_wait_sends_them(server: FakeFeatureServer) -> None:
    """A window of one is told while two frames wait for others: they are sent with the next, and all are answered."""
    told = asyncio.Event()
    server.script = Script(windows={0: 1}, gates={0: told})

    def source() -> Iterator[bytes]:
        yield from PICTURES

    async with AsyncFeatureClient(server.target, config=ClientConfig(window=6)) as client:
        results = client.stream(source(), StreamOptions(frames_per_message=4))
        first = asyncio.ensure_future(anext(results))
        await server.seen.frames(4)
        told.set()
        assert (await first).frame_id == 0
        assert [result.frame_id async for result in results] == list(range(1, 10))


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_frame_a_message_is_refused(count: int) -> None:
    """Where the option is made, not at the server."""
    with pytest.raises(ValueError, match=f"frames_per_message is {count}; it must be 1 or more"):
        StreamOptions(frames_per_message=count)
