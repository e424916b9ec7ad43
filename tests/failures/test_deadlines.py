"""Row 10: a deadline that has passed, or will, costs no device time."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from gated import Gated, gated
from nasfeat.v1 import feature_service_pb2
from serving import connected, frame, metric, next_result, opening, pixels, running, until

Request = feature_service_pb2.StreamFeaturesRequest
_DEADLINE = feature_service_pb2.DROP_REASON_DEADLINE


async def _open(server: Gated, deadline_s: float, **others: Any) -> Any:
    call = server.stub.StreamFeatures()
    options = feature_service_pb2.StreamOptions(
        delivery_order=feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED, **others
    )
    options.frame_deadline.FromNanoseconds(round(deadline_s * 1e9))
    await call.write(Request(options=options))
    await call.read()
    return call


async def _known_speed(server: Gated, count: int = 1) -> None:
    """Let the server see what a batch takes on each device."""
    call: Any = server.stub.StreamFeatures()
    await call.write(opening())
    for device in server.devices:
        device.turnstile.admit(count)
    for number in range(count * len(server.devices)):
        await call.write(frame(number))
        await next_result(call)
    call.cancel()


async def test_a_deadline_that_passes_in_the_queue() -> None:
    """Row 10: the device is busy; what waits is dropped as its deadline passes, without waiting for the device."""
    async with gated() as server:
        busy: Any = server.stub.StreamFeatures()
        await busy.write(opening())
        await busy.write(frame(0))
        await busy.write(frame(1))
        await server.received(2)
        call = await _open(server, 0.05)
        for number in range(3):
            await call.write(frame(number + 10))
        results = [await next_result(call) for _ in range(3)]
        assert [result.dropped.reason for result in results if result] == [_DEADLINE] * 3
        server.device.turnstile.admit(5)
        assert await next_result(busy)
        assert server.device.computed == [0, 1]
        busy.cancel()
        call.cancel()


async def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    """Row 10: a frame takes ten seconds here; a stream that gives it five hears so before the image is decoded."""
    async with gated(busy_s=(10.0,)) as server:
        await _known_speed(server)
        call = await _open(server, 5.0)
        await call.write(frame(0))
        result = await next_result(call)
        assert result
        assert result.dropped.reason == _DEADLINE
        assert not result.timings.decode_s
        assert server.device.computed == [0]
        patient = await _open(server, 15.0)
        await patient.write(frame(7))
        server.device.turnstile.admit()
        assert (await next_result(patient) or result).HasField("features")
        call.cancel()
        patient.cancel()


async def test_a_frame_behind_too_many_others_is_refused_at_once() -> None:
    """Row 10: ten seconds a frame and three of the same stream before it: 35 s are too few for the fourth."""
    async with gated(busy_s=(10.0,)) as server:
        await _known_speed(server)
        call = await _open(server, 35.0)
        for number in range(4):
            await call.write(frame(number))
        refused = await next_result(call)
        assert refused
        assert (refused.frame_id, refused.dropped.reason) == (3, _DEADLINE)
        call.cancel()


async def test_a_call_that_cannot_be_in_time_says_when_it_could() -> None:
    """Row 10: DEADLINE_EXCEEDED at once, with the numbers, and a retry pushback that gRPC's policy understands."""
    async with gated(busy_s=(10.0,)) as server:
        await _known_speed(server)
        request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(3)])
        with pytest.raises(grpc.aio.AioRpcError, match=r"would be ready in 10\.0\d\d s at best") as caught:
            async with asyncio.timeout(2):
                await server.stub.ExtractFeatures(request, timeout=5.0)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        trailing = {str(key): str(value) for key, value in caught.value.trailing_metadata() or ()}
        assert 4000 < int(trailing["grpc-retry-pushback-ms"]) < 6000
        assert server.device.computed == [0]


async def test_a_batch_is_as_small_as_its_tightest_deadline_needs() -> None:
    """Row 10: two seconds a frame; of seven that wait, the one that has five seconds is in the next batch of two."""
    async with gated(max_batch_size=8) as server:
        server.device.busy_s = lambda size: 2.0 * size
        await _known_speed(server, 2)
        busy: Any = server.stub.StreamFeatures()
        await busy.write(opening(priority=feature_service_pb2.PRIORITY_LOW))
        for number in range(7):
            await busy.write(frame(number))
        await server.received(9)
        call = await _open(server, 7.5, priority=feature_service_pb2.PRIORITY_HIGH)
        await call.write(frame(99))
        await server.received(10)
        begun = len(server.device.numbers)
        server.device.turnstile.admit()
        await next_result(busy)
        while len(server.device.numbers) == begun:  # noqa: ASYNC110 - a batch begins without an event
            await asyncio.sleep(0)
        batch = server.device.numbers[-1]
        assert 99 in batch
        assert len(batch) == 2
        busy.cancel()
        call.cancel()


async def test_a_call_past_its_deadline_leaves_nothing_behind() -> None:
    """Row 10: a call's deadline shorter than the queue: the images that waited never reach the device."""
    async with running(weights="sleep:0.4", max_batch_size=1) as app, connected(app) as stub:
        request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(number) for number in range(6)])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ExtractFeatures(request, timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: metric(app, "nasfeat_slots_in_use") == 0)
        assert metric(app, "nasfeat_batch_size_sum", device="cpu:0") <= 2
