"""Rows 5 and 6: clients that are killed and callers that give up, at every step of a frame's way."""

import asyncio
import sys
from typing import Any

import grpc.aio
import pytest

from gated import Gated, gated
from nasfeat.v1 import feature_service_pb2
from nasfeat_server.config import RequestLimits
from serving import connected, frame, metric, next_result, opening, pixels, running, until

_SENDER = """
import sys, threading
import grpc
from nasfeat.v1 import feature_service_pb2 as pb, feature_service_pb2_grpc, image_pb2

def requests(stream):
    yield pb.StreamFeaturesRequest(options=pb.StreamOptions(window=100))
    for number in range(100):
        raw = image_pb2.RawImage(
            data=bytes([stream, number]) + bytes(32 * 32 * 3 - 2),
            pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=32, width=32,
        )
        yield pb.StreamFeaturesRequest(frame=pb.Frame(frame_id=number, image=image_pb2.Image(raw=raw)))
    threading.Event().wait()

stub = feature_service_pb2_grpc.FeatureServiceStub(grpc.insecure_channel(sys.argv[1]))
calls = [stub.StreamFeatures(requests(stream)) for stream in range(10)]
threading.Event().wait()
"""


async def test_a_client_killed_with_a_thousand_frames_queued_costs_no_device_time() -> None:
    """Row 5: ten streams of a hundred frames each, then SIGKILL: what waits is cancelled, its slots are free."""
    limits = RequestLimits(max_window=100)
    async with running(weights="sleep:0.3", max_batch_size=1, slots=1024, limits=limits) as app:
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", _SENDER, str(app.listening))
        await until(lambda: metric(app, "nasfeat_in_flight_frames") >= 990)
        computed = metric(app, "nasfeat_batch_size_sum", device="cpu:0")
        client.kill()
        await client.wait()
        await until(lambda: metric(app, "nasfeat_slots_in_use") == 0)
        # One on the device and one ahead of it may have been under way.
        assert metric(app, "nasfeat_batch_size_sum", device="cpu:0") - computed <= 3
        assert metric(app, "nasfeat_frames_total", outcome="cancelled", reason="") >= 985
        assert metric(app, "nasfeat_in_flight_frames") == 0
        assert metric(app, "nasfeat_streams") == 0
        async with connected(app) as stub:
            request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)])
            assert (await stub.ExtractFeatures(request)).results[0].HasField("features")


@pytest.mark.parametrize("where", ["queued", "executing", "replying"])
async def test_a_caller_that_gives_up_disturbs_nobody(where: str) -> None:
    """Row 6: a stream is cancelled while its frame is queued, on the device or about to be sent; the others go on."""
    async with gated(max_batch_size=4) as server:
        first = await _sent(server, frame(0, pixels(1)))
        await server.received(1)
        leaving = await _sent(server, frame(0, pixels(2)))
        staying = await _sent(server, frame(0, pixels(3)))
        await server.received(3)
        if where != "queued":
            server.device.turnstile.admit()
            await until(lambda: len(server.device.numbers) == 2)
        if where == "replying":
            server.device.turnstile.admit()
            await until(lambda: server.path.slots.in_use == 0)
        leaving.cancel()
        server.device.turnstile.admit(10)
        for call in (first, staying):
            result = await next_result(call)
            assert result
            assert result.HasField("features")
            call.cancel()
        later = await _sent(server, frame(0, pixels(4)))
        assert (await next_result(later) or feature_service_pb2.FrameResult()).HasField("features")
        later.cancel()
        await until(lambda: server.path.slots.in_use == 0)


async def test_a_unary_caller_that_gives_up_disturbs_nobody() -> None:
    """Row 6: calls cancelled with their images queued and on the device; the call between them is answered."""
    async with gated(max_batch_size=2) as server:
        calls: list[Any] = []
        for number in range(5):
            request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(number)])
            calls.append(server.stub.ExtractFeatures(request))
            await server.received(number + 1)
        for call in (calls[0], calls[1], calls[3], calls[4]):
            call.cancel()
        await until(lambda: server.finished()["cancelled", ""] == 4)
        server.device.turnstile.admit(10)
        assert (await calls[2]).results[0].HasField("features")
        await until(lambda: server.path.slots.in_use == 0)
        # The second one had been given to the device with the third.
        assert server.device.numbers == [[0], [1, 2]]


async def _sent(server: Gated, request: Any) -> Any:
    call: grpc.aio.StreamStreamCall[Any, Any] = server.stub.StreamFeatures()
    await call.write(opening())
    await call.write(request)
    return call
