"""Streams that outlive their server: nothing is lost, nothing is answered twice, and in the end one is told."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat.v1.feature_service_pb2 import StreamFeaturesRequest
from nasfeat_client import (
    AsyncFeatureClient,
    ClientConfig,
    DeliveryOrder,
    Frame,
    ResumeConfig,
    ServerUnavailableError,
    StreamOptions,
    UnexpectedReplyError,
)
from nasfeat_client._patience import Patience
from nasfeat_client._source import PackedFrame
from nasfeat_client._supply import Supply
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Refusal, Script, fake_vector

PICTURES = [f"picture {number}".encode() for number in range(50)]
LOST = Refusal(code=grpc.StatusCode.UNAVAILABLE, message="the server is stopping")
QUICK = ClientConfig(resume=ResumeConfig(first_pause_s=0.001, longest_pause_s=0.01))


@pytest.mark.parametrize("order", DeliveryOrder)
@pytest.mark.parametrize("per_message", [1, 3])
async def test_each_frame_is_answered_once_however_often_the_server_is_lost(
    server: FakeFeatureServer, order: DeliveryOrder, per_message: int
) -> None:
    """Every call ends after five results: the frames without one go again, with their ids, and no other."""
    server.script = Script(results_before_end=5, ending=LOST)
    options = StreamOptions(delivery_order=order, frames_per_message=per_message)
    async with AsyncFeatureClient(server.target, config=QUICK) as client:
        stream = client.stream([*PICTURES[:20], "missing.jpg", *PICTURES[20:]], options)
        results = [result async for result in stream]
        assert stream.resumptions >= 9
    assert sorted(result.frame_id for result in results) == list(range(51))
    if order is DeliveryOrder.ORDERED:
        assert [result.frame_id for result in results] == list(range(51))
    for result in results:
        if result.frame_id != 20:
            picture = PICTURES[result.frame_id - (result.frame_id > 20)]
            np.testing.assert_array_equal(result.vector, fake_vector(picture))
    assert Counter(result.ok for result in results) == {True: 50, False: 1}
    # All calls bear the name that the first was given.
    assert len({options.stream_id for options in server.seen.options[1:]}) == 1


async def test_a_frame_that_was_being_taken_is_not_lost() -> None:
    """The call that waits for the camera is lost: the camera's next frame goes to the next call."""
    ready, closed = asyncio.Event(), asyncio.Event()

    async def camera() -> AsyncGenerator[PackedFrame, None]:
        try:
            await ready.wait()
            yield PackedFrame(frame=Frame(b"picture", frame_id=7), request=StreamFeaturesRequest())
        finally:
            closed.set()

    supply = Supply(camera())
    lost = asyncio.create_task(supply.take())
    await asyncio.sleep(0)
    lost.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lost
    ready.set()
    taken = await supply.take()
    assert taken
    assert taken.frame.frame_id == 7
    assert await supply.take() is None
    await supply.close()
    assert closed.is_set()


async def test_a_source_is_closed_while_it_is_waited_for() -> None:
    """Nobody takes the frame that is coming: the camera is closed in the middle of it."""
    closed = asyncio.Event()

    async def camera() -> AsyncGenerator[PackedFrame, None]:
        try:
            await asyncio.Event().wait()
            yield PackedFrame(frame=Frame(b"picture"), request=StreamFeaturesRequest())
        finally:
            closed.set()

    supply = Supply(camera())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(supply.take(), 0.01)
    await supply.close()
    assert closed.is_set()


async def test_what_the_source_raises_comes_after_the_results_of_later_calls(server: FakeFeatureServer) -> None:
    """The source fails, then the server is lost with a frame unanswered: first its result, then the failure."""

    async def camera() -> AsyncIterator[Frame]:
        for number in range(3):
            yield Frame(PICTURES[number])
        raise OSError("unplugged")

    server.script = Script(results_before_end=2, ending=LOST)
    async with AsyncFeatureClient(server.target, config=QUICK) as client:
        stream = client.stream(camera())
        assert [(await anext(stream)).frame_id for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="unplugged"):
            await anext(stream)


async def test_a_server_that_stays_away_is_told_with_what_was_tried(server: FakeFeatureServer) -> None:
    """After the time that was given: how often it was tried, and how many frames have no answer."""
    server.script = Script(gates={2: asyncio.Event()})
    resume = ResumeConfig(give_up_after_s=0.2, first_pause_s=0.01, longest_pause_s=0.02)
    async with AsyncFeatureClient(server.target, config=ClientConfig(resume=resume, window=4)) as client:
        stream = client.stream(PICTURES)
        assert [(await anext(stream)).frame_id for _ in range(2)] == [0, 1]
        await server.seen.frames(6)
        await server.stop()
        given_up = r"given up after \d+ attempts in \d+ s, 4 frames unanswered"
        with pytest.raises(ServerUnavailableError, match=given_up):
            await anext(stream)


async def test_another_model_is_not_mixed_in(server: FakeFeatureServer) -> None:
    """The server comes back with other weights: their vectors do not compare, so the stream ends."""
    server.script = Script(results_before_end=1, ending=LOST)
    async with AsyncFeatureClient(server.target, config=QUICK) as client:
        stream = client.stream(PICTURES)
        assert (await anext(stream)).ok
        identity = dataclasses.replace(FAKE_MODEL.identity, weights_digest="sha256:other")
        server.model = dataclasses.replace(FAKE_MODEL, identity=identity)
        with pytest.raises(UnexpectedReplyError, match=r"another model than the stream began with.*sha256:other"):
            [result async for result in stream]


@given(
    first_s=st.floats(0.01, 1),
    longest_s=st.floats(0.01, 10),
    budget_s=st.floats(0, 10),
    draws=st.lists(st.floats(0, 1), min_size=1),
)
def test_pauses_grow_within_their_bounds_and_end(
    first_s: float, longest_s: float, budget_s: float, draws: list[float]
) -> None:
    """No pause is over the longest, none begins that would end after the budget, and they do end."""
    now, count = 0.0, 0
    config = ResumeConfig(give_up_after_s=budget_s, first_pause_s=first_s, longest_pause_s=longest_s)
    patience = Patience(config, clock=lambda: now, draw=lambda: draws[count % len(draws)])
    while (pause_s := patience.next_pause_s()) is not None:
        assert 0 < pause_s <= min(longest_s, first_s * 2.0 ** min(count, 32))
        now += pause_s
        count += 1
        assert now <= budget_s
    assert patience.attempts == count
    patience.restore()
    now += 1000
    assert (patience.next_pause_s() is None) == (
        min(first_s, longest_s) * (0.5 + 0.5 * draws[count % len(draws)]) > budget_s
    )
