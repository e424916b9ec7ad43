"""Streams that are held open: `open_stream`, with `send` on one side and results on the other."""

import asyncio
import threading

import grpc
import numpy as np
import pytest

from nasfeat_client import (
    AsyncFeatureClient,
    DropReason,
    FeatureClient,
    Frame,
    InvalidImageError,
    NasfeatError,
    OverloadPolicy,
    StreamOptions,
)
from nasfeat_client.testing import FakeFeatureServer, Refusal, Script, fake_vector


async def test_what_is_sent_is_answered(client: AsyncFeatureClient, server: FakeFeatureServer) -> None:
    """In order, each with its own vector; the grant is there from the start, the summary at the end."""
    async with client.open_stream(StreamOptions(window=4)) as stream:
        assert stream.grant
        assert stream.grant.options.window == 4
        for number in range(3):
            await stream.send(b"%d" % number)
            result = await anext(stream)
            assert result.frame_id == number
            np.testing.assert_array_equal(result.vector, fake_vector(b"%d" % number))
        await stream.send(Frame(b"later", frame_id=9))
        await stream.end()
        assert [result.frame_id async for result in stream] == [9]
        assert stream.summary
        assert stream.summary.received == 4
        assert [result async for result in stream] == []
        with pytest.raises(RuntimeError, match="not open for frames"):
            await stream.send(b"too late")


async def test_sending_waits_for_room(client: AsyncFeatureClient, server: FakeFeatureServer) -> None:
    """Who sends faster than results are taken waits, and no more frames are held than the window has."""
    sent = 0

    async def send() -> None:
        nonlocal sent
        for number in range(1000):
            await stream.send(b"%d" % number)
            sent += 1
        await stream.end()

    async with client.open_stream(StreamOptions(window=4)) as stream:
        sending = asyncio.create_task(send())
        await server.seen.frames(4)
        for _ in range(50):
            await asyncio.sleep(0.002)
            # The window, a result that waits to be taken with another behind it, and a frame on its way.
            assert sent <= 4 + 3
        assert [result.frame_id async for result in stream] == list(range(1000))
        await sending


async def test_a_refused_stream_is_not_entered(client: AsyncFeatureClient, server: FakeFeatureServer) -> None:
    """The error comes where the block begins, and nothing is left behind."""
    server.script = Script(refusal=Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, message="no such output"))
    with pytest.raises(NasfeatError, match="no such output"):
        async with client.open_stream():
            raise AssertionError("entered")


async def test_a_failure_reaches_both_sides(client: AsyncFeatureClient, server: FakeFeatureServer) -> None:
    """Who sends and who iterates are both told that the stream has failed."""
    server.script = Script(results_before_end=1)
    async with client.open_stream() as stream:
        await stream.send(b"a")
        assert (await anext(stream)).ok
        await stream.send(b"b")
        with pytest.raises(NasfeatError) as caught:
            await anext(stream)
        with pytest.raises(NasfeatError) as again:
            await stream.send(b"c")
        assert again.value is caught.value


async def test_bad_images_and_dropped_frames_are_results(client: AsyncFeatureClient, server: FakeFeatureServer) -> None:
    """As in every stream."""
    server.script = Script(drops={1: DropReason.SUPERSEDED})
    async with client.open_stream(StreamOptions(overload_policy=OverloadPolicy.LATEST_ONLY)) as stream:
        await stream.send(np.zeros((2, 2, 7), np.uint8))
        await stream.send(b"b")
        bad, dropped = await anext(stream), await anext(stream)
        with pytest.raises(InvalidImageError, match="array is uint8"):
            bad.raise_for_error()
        assert dropped.dropped is DropReason.SUPERSEDED


async def test_leaving_gives_up_what_is_unanswered(client: AsyncFeatureClient, server: FakeFeatureServer) -> None:
    """Whoever waits to send, or for a result, is let go."""
    server.script = Script(gates={0: asyncio.Event()})
    async with client.open_stream(StreamOptions(window=1)) as stream:
        await stream.send(b"held")
        await stream.send(b"waits for room")
        sending = asyncio.create_task(stream.send(b"waits to be taken"))
        waiting = asyncio.create_task(anext(stream, None))
        await server.seen.frames(1)
    with pytest.raises(RuntimeError, match="not open for frames"):
        await sending
    assert await waiting is None


async def test_a_cancelled_sender_has_sent_nothing(client: AsyncFeatureClient, server: FakeFeatureServer) -> None:
    """Its frame does not come later."""
    server.script = Script(gates={0: (gate := asyncio.Event())})
    async with client.open_stream(StreamOptions(window=1)) as stream:
        await stream.send(b"held")
        await stream.send(b"next")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.send(b"cancelled")
        gate.set()
        await stream.end()
        vectors = [result.vector async for result in stream]
    assert len(vectors) == 2
    np.testing.assert_array_equal(vectors[1], fake_vector(b"next"))


def test_threads_may_share_a_stream(threaded_server: FakeFeatureServer) -> None:
    """One sends, another one takes results."""
    with FeatureClient(threaded_server.target) as client, client.open_stream(StreamOptions(window=4)) as stream:

        def send() -> None:
            for number in range(100):
                stream.send(b"%d" % number)
            stream.end()

        sender = threading.Thread(target=send)
        sender.start()
        assert [result.frame_id for result in stream] == list(range(100))
        sender.join()
        assert stream.summary
        assert stream.grant
        assert stream.window == 4


def test_closing_the_client_ends_its_streams(threaded_server: FakeFeatureServer) -> None:
    """Also those that are held open."""
    with FeatureClient(threaded_server.target) as client:
        stream = client.open_stream()
        stream.__enter__()
        stream.send(b"a")
        assert next(stream).ok
    with pytest.raises(RuntimeError, match="closed"):
        stream.send(b"b")
    stream.close()


async def test_nothing_is_left_behind(server: FakeFeatureServer) -> None:
    """No task runs on after the block."""
    before = asyncio.all_tasks()
    async with AsyncFeatureClient(server.target) as client:
        for _ in range(3):
            async with client.open_stream() as stream:
                await stream.send(b"a")
                await anext(stream)
        await asyncio.sleep(0)
        coroutines = (task.get_coro() for task in asyncio.all_tasks() - before)
        # gRPC's own tasks are none of ours.
        assert not [one for one in coroutines if "Stream." in getattr(one, "__qualname__", "")]
