"""Overload policies over the wire: which frames are given up, and that each is told so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from gated import Gated, gated
from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from serving import frame, next_result, opening, until

_DROP_OLDEST = feature_service_pb2.OVERLOAD_POLICY_DROP_OLDEST
_LATEST_ONLY = feature_service_pb2.OVERLOAD_POLICY_LATEST_ONLY
_REJECT = feature_service_pb2.OVERLOAD_POLICY_REJECT
_AS_COMPLETED = feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED


@pytest.fixture(params=[False, True], ids=["here", "behind a link"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Gated]:
    """Give a server with one device that takes one frame at a time; the scheduler may be in another process."""
    async with gated(remote=request.param) as server:
        yield server


async def _open(server: Gated, **options: Any) -> tuple[Any, feature_service_pb2.StreamOptions]:
    call: Any = server.stub.StreamFeatures()
    await call.write(opening(**options))
    return call, (await call.read()).granted.options


async def _send(server: Gated, call: Any, *numbers: int) -> None:
    """Send the frames `numbers`, the first of which is as many as were sent before, each when the last has settled."""
    for number in numbers:
        await call.write(frame(number))
        await server.received(number + 1)


async def _results(call: Any, count: int) -> dict[int, feature_service_pb2.FrameResult]:
    found = {}
    for _ in range(count):
        result = await next_result(call)
        assert result
        found[result.frame_id] = result
    return found


def _dropped(results: dict[int, feature_service_pb2.FrameResult]) -> set[int]:
    """Give the frames that are told to have been superseded."""
    superseded = feature_service_pb2.DROP_REASON_SUPERSEDED
    return {number for number, result in results.items() if result.dropped.reason == superseded}


async def test_latest_only_computes_the_newest_and_tells_of_each_other(server: Gated) -> None:
    """Ten frames while the device is busy with the first: it gets the last next, eight are answered as dropped."""
    call, granted = await _open(server, overload_policy=_LATEST_ONLY)
    assert (granted.overload_policy, granted.backlog) == (_LATEST_ONLY, 1)
    await _send(server, call, *range(10))
    server.device.turnstile.admit(2)
    results = await _results(call, 10)
    assert list(results) == list(range(10))
    assert server.device.computed == [0, 9]
    assert _dropped(results) == set(range(1, 9))
    await until(lambda: server.finished() == {("ok", ""): 2, ("dropped", "Superseded"): 8})
    call.cancel()


async def test_what_latest_only_keeps_is_never_given_to_a_device_ahead_of_time(server: Gated) -> None:
    """While a frame waits that may still be superseded, a busy device gets none to go on with, of no stream."""
    call, _ = await _open(server, overload_policy=_LATEST_ONLY)
    await _send(server, call, 0, 1)
    assert server.scheduler.dispatcher.depth == 1
    patient, _ = await _open(server)
    await patient.write(frame(7))
    await server.received(3)
    assert (server.scheduler.slots.in_use, server.scheduler.dispatcher.depth) == (3, 2)
    await call.write(frame(2))
    await server.received(4)
    server.device.turnstile.admit(3)
    await until(lambda: sorted(server.device.computed) == [0, 2, 7])
    call.cancel()
    patient.cancel()


async def test_age_stays_under_two_batches_with_a_source_three_times_as_fast(server: Gated) -> None:
    """Three frames come while each batch runs: when a batch begins its frame is the newest that was sent."""
    call, _ = await _open(server, overload_policy=_LATEST_ONLY, delivery_order=_AS_COMPLETED)
    await _send(server, call, 0)
    newest = []
    for batch in range(20):
        await _send(server, call, *range(1 + 3 * batch, 4 + 3 * batch))
        newest.append(3 + 3 * batch)
        server.device.turnstile.admit()
        while len(server.device.numbers) < batch + 2:  # noqa: ASYNC110 - a batch begins without an event
            await asyncio.sleep(0)
    # A frame that is the newest as its batch begins is at most a third of a batch old then, and a batch later done.
    assert server.device.computed == [0, *newest]
    call.cancel()


async def test_drop_oldest_keeps_its_backlog_of_the_newest(server: Gated) -> None:
    """A backlog of three: of ten frames behind the one on the device and the one after, the last three are left."""
    call, granted = await _open(server, overload_policy=_DROP_OLDEST, backlog=3)
    assert granted.backlog == 3
    await _send(server, call, *range(10))
    server.device.turnstile.admit(5)
    results = await _results(call, 10)
    assert server.device.computed == [0, 1, 7, 8, 9]
    assert _dropped(results) == {2, 3, 4, 5, 6}
    call.cancel()


async def test_reject_refuses_the_newcomer_and_says_when_to_come_again(server: Gated) -> None:
    """A backlog of three: the frames that find it full are answered at once, those that were let in are computed."""
    call, _ = await _open(server, overload_policy=_REJECT, backlog=3, delivery_order=_AS_COMPLETED)
    await _send(server, call, *range(8))
    refused = await _results(call, 3)
    assert sorted(refused) == [5, 6, 7]
    for result in refused.values():
        assert result.error.reason == feature_pb2.ERROR_REASON_OVERLOADED
        assert result.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert result.error.retry_after.ToMilliseconds() > 0
        assert result.error.message == "the backlog of the stream is full: it holds 3"
    server.device.turnstile.admit(5)
    assert sorted(await _results(call, 5)) == [0, 1, 2, 3, 4]
    assert server.device.computed == [0, 1, 2, 3, 4]
    call.cancel()


@pytest.mark.parametrize("policy", [_DROP_OLDEST, _LATEST_ONLY, _REJECT])
async def test_a_bad_image_costs_a_lossy_stream_nothing_else(server: Gated, policy: int) -> None:
    """A frame that cannot be decoded has its error, and the ones after it are decoded and computed as ever."""
    call, _ = await _open(server, overload_policy=policy)
    server.device.turnstile.admit(100)
    for number in range(0, 12, 2):
        await call.write(frame(number, image_pb2.Image(encoded=b"text")))
        # It is being decoded then, and not given up for the next one.
        await server.received(number + 1)
        await call.write(frame(number + 1))
        results = await _results(call, 2)
        assert results[number].error.reason == feature_pb2.ERROR_REASON_INVALID_IMAGE
        assert results[number + 1].HasField("features")
    call.cancel()


@pytest.mark.parametrize("policy", [_DROP_OLDEST, _LATEST_ONLY, _REJECT])
async def test_a_lossy_stream_that_ends_answers_what_it_took(server: Gated, policy: int) -> None:
    """The client half-closes behind its frames: each has one answer, the summary adds up, nothing stays taken."""
    call, _ = await _open(server, overload_policy=policy)
    server.device.turnstile.admit(100)
    for number in range(40):
        await call.write(frame(number))
    await call.done_writing()
    replies = [await call.read() for _ in range(41)]
    assert [reply.result.frame_id for reply in replies[:40]] == list(range(40))
    assert await call.read() is grpc.aio.EOF
    summary = replies[-1].summary
    assert summary.received == 40
    assert summary.succeeded + summary.dropped + summary.rejected == 40
    await until(lambda: server.scheduler.slots.in_use == 0)


async def test_a_lossy_stream_that_is_left_frees_everything(server: Gated) -> None:
    """Cancelled with frames everywhere: what was on the device ends there, the rest is cancelled, no slot stays."""
    call, _ = await _open(server, overload_policy=_DROP_OLDEST, backlog=4)
    await _send(server, call, *range(6))
    call.cancel()
    await until(lambda: server.scheduler.dispatcher.depth == 0)
    server.device.turnstile.admit(10)
    await until(lambda: server.scheduler.slots.in_use == 0)
    await until(lambda: server.finished()["cancelled", ""] == 6)
