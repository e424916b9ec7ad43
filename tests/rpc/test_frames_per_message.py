"""Streams whose messages hold several frames, and several results."""

import contextlib
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from gated import gated
from nasfeat.v1 import feature_service_pb2
from nasfeat_client import AsyncFeatureClient, StreamOptions
from nasfeat_server.config import RequestLimits
from serving import frame, opening, pixels, running

_Reply = feature_service_pb2.StreamFeaturesResponse


def _together(*numbers: int) -> feature_service_pb2.StreamFeaturesRequest:
    frames = [feature_service_pb2.Frame(frame_id=number, image=pixels(number)) for number in numbers]
    return feature_service_pb2.StreamFeaturesRequest(frames=feature_service_pb2.FrameBatch(frames=frames))


def _ids(reply: _Reply) -> list[int]:
    results = reply.results.results if reply.HasField("results") else [reply.result]
    assert all(result.HasField("features") and result.stream_id for result in results)
    return [result.frame_id for result in results]


async def _open(server: Any, **options: Any) -> tuple[Any, feature_service_pb2.StreamOptions]:
    call = server.stub.StreamFeatures()
    await call.write(opening(**options))
    granted: feature_service_pb2.StreamOptions = (await call.read()).granted.options
    return call, granted


async def test_frames_of_one_message_are_frames_like_others() -> None:
    """Each is computed and counted; what one batch of the device answered comes in one message, in order."""
    async with gated(max_batch_size=4) as server:
        call, granted = await _open(server, frames_per_message=4)
        assert granted.frames_per_message == 4
        # The device begins with the first; two batches wait behind it.
        await call.write(frame(0))
        await server.received(1)
        await call.write(_together(1, 2, 3, 4))
        await call.write(_together(5, 6))
        await server.received(7)
        await call.done_writing()
        replies = []
        for _ in range(2):
            server.device.turnstile.admit()
            replies.append(_ids(await call.read()))
        assert replies == [[0], [1, 2, 3, 4]]
        server.device.turnstile.admit()
        assert _ids(await call.read()) == [5, 6]
        summary = (await call.read()).summary
        assert (summary.received, summary.succeeded) == (7, 7)
    assert server.device.numbers == [[0], [1, 2, 3, 4], [5, 6]]
    assert server.finished() == {("ok", ""): 7}


async def test_no_result_waits_for_another() -> None:
    """Two frames in one message, done one after the other: the first result does not wait for the second."""
    async with gated(max_batch_size=1) as server:
        call, _ = await _open(server, frames_per_message=2)
        await call.write(_together(0, 1))
        await server.received(2)
        server.device.turnstile.admit()
        assert _ids(await call.read()) == [0]
        server.device.turnstile.admit()
        assert _ids(await call.read()) == [1]
        call.cancel()


async def test_a_message_may_hold_more_frames_than_there_is_room_for() -> None:
    """The window is two when six frames come at once: they are taken in as answers go out, and none is lost."""
    async with gated(max_batch_size=1) as server:
        call, granted = await _open(server, frames_per_message=8, window=8)
        others = [server.windows.open(ceiling=32, weight=1.0, announce=lambda _: None) for _ in range(20)]
        server.windows.adjust()
        assert (granted.window, granted.frames_per_message) == (8, 8)
        await call.write(_together(*range(6)))
        server.device.turnstile.admit(6)
        ids: list[int] = []
        while len(ids) < 6:
            reply = await call.read()
            ids += [] if reply.HasField("window_update") else _ids(reply)
        assert ids == list(range(6))
        for window in others:
            server.windows.close(window)
        call.cancel()


@pytest.mark.parametrize(
    ("frames", "asked", "message"),
    [
        (_together(0, 1, 2), 2, "a message of this stream holds 1 to 2 frames, not 3"),
        (_together(0, 1), 0, "a message of this stream holds 1 to 1 frames, not 2"),
        (_together(), 2, "a message of this stream holds 1 to 2 frames, not 0"),
    ],
)
async def test_more_frames_than_granted_end_the_stream(
    frames: feature_service_pb2.StreamFeaturesRequest, asked: int, message: str
) -> None:
    """As does a message without any: the error says how many there may be."""
    async with gated() as server:
        call, _ = await _open(server, frames_per_message=asked)
        await call.write(frames)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call.read()
            await call.read()
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert message in await call.details()


@pytest.mark.parametrize(("asked", "granted"), [(0, 1), (1, 1), (7, 7), (100, 30)])
async def test_no_more_is_granted_than_the_results_that_fit(asked: int, granted: int) -> None:
    """A message of 2 MiB holds 30 results of 3 KB with 64 KiB for what goes with each; the window would allow 32."""
    limits = RequestLimits(max_image_bytes=1000, max_result_bytes=2**20, max_window=32)
    async with gated(limits=limits, slots=32) as server:
        call, options = await _open(server, frames_per_message=asked)
        assert (options.window, options.frames_per_message) == (32, granted)
        call.cancel()


async def test_the_sdk_sends_and_takes_several_at_a_time() -> None:
    """The SDK against the real server: each picture gets its own vector, as it does with a message for each."""
    pictures = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
    async with running() as app, AsyncFeatureClient(str(app.listening)) as client:
        alone = [result async for result in client.stream(iter(pictures))]
        stream = client.stream(iter(pictures), StreamOptions(frames_per_message=8))
        together = [result async for result in stream]
        assert stream.grant
        assert stream.grant.options.frames_per_message == 8
        assert stream.summary
        assert stream.summary.succeeded == 50
    assert [result.frame_id for result in together] == list(range(50))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)
