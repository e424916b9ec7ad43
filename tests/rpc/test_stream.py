"""StreamFeatures over a real server: order, errors in band, windows, ends of every kind."""

import contextlib
import threading
from collections.abc import AsyncIterator, Iterable

import grpc
import grpc.aio
import numpy as np
import pytest

from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from nasfeat_server.app import App
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.engines.fake import FAILING_PIXEL
from nasfeat_server.rpc import decoding
from serving import connected, frame, metric, next_result, opening, pixels, running, until

Request = feature_service_pb2.StreamFeaturesRequest
Response = feature_service_pb2.StreamFeaturesResponse

_ANSWERS = ("granted", "result")


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a server with one free replica."""
    async with running() as app:
        yield app


async def _replies(app: App, requests: Iterable[Request]) -> tuple[list[Response], grpc.StatusCode, str]:
    """Send `requests`, half-close, and give the grant and the results that came back."""
    async with connected(app) as stub:
        call = stub.StreamFeatures(iter(requests))
        replies = []
        with contextlib.suppress(grpc.aio.AioRpcError):
            replies = [reply async for reply in _until_error(call) if reply.WhichOneof("message") in _ANSWERS]
        return replies, await call.code(), await call.details()


async def _until_error(call: grpc.aio.StreamStreamCall[Request, Response]) -> AsyncIterator[Response]:
    with contextlib.suppress(grpc.aio.AioRpcError):
        async for reply in call:
            yield reply


def _tag(result: feature_service_pb2.FrameResult) -> int:
    """Read the number that `pixels` wrote into an image back from its fingerprint."""
    values = np.frombuffer(result.features.features[0].values, np.float32)
    return round(float(values[0]) * 255)


async def test_a_stream_is_granted_with_every_default_filled_in(app: App) -> None:
    """The first reply says what is in force, and which model will answer."""
    replies, code, _ = await _replies(app, [opening()])
    granted = replies[0].granted
    assert code is grpc.StatusCode.OK
    assert granted.options.delivery_order == feature_service_pb2.DELIVERY_ORDER_ORDERED
    assert granted.options.overload_policy == feature_service_pb2.OVERLOAD_POLICY_BLOCK
    assert granted.options.window == RequestLimits().max_window
    assert list(granted.options.outputs) == ["global_pool"]
    assert (granted.identity.name, granted.identity.trained) == ("fake_nasnet_cifar", False)
    assert granted.feature_length == 768


async def test_every_frame_is_answered_once_in_order_with_its_own_features(app: App) -> None:
    """Three hundred frames, far more than the window: each answer is its frame's, in the frames' order."""
    replies, code, _ = await _replies(app, [opening(), *(frame(number * 3) for number in range(300))])
    results = [reply.result for reply in replies[1:]]
    assert code is grpc.StatusCode.OK
    assert [result.frame_id for result in results] == [number * 3 for number in range(300)]
    assert [_tag(result) for result in results] == [number * 3 >> 8 for number in range(300)]
    assert all(len(result.features.features[0].values) == 768 * 4 for result in results)


async def test_capture_time_identity_and_timings_come_with_each_result(app: App) -> None:
    """A result echoes what the frame said of itself and tells who made it and where its time went."""
    request = frame(1)
    request.frame.capture_time.FromMilliseconds(123_456)
    replies, _, _ = await _replies(app, [opening(), request])
    result = replies[1].result
    assert result.capture_time.ToMilliseconds() == 123_456
    assert result.identity.weights_source == "random:0"
    assert result.identity.preprocessing_digest.startswith("sha256:")
    assert result.timings.execute_s > 0


async def test_a_bad_image_fails_alone(app: App) -> None:
    """Frames that are no image, an empty one and one that the engine refuses have errors; the others have features."""
    failing = pixels(0)
    failing.raw.data = bytes(FAILING_PIXEL) + failing.raw.data[3:]
    images = [pixels(0), image_pb2.Image(encoded=b"text"), image_pb2.Image(), failing, pixels(4)]
    replies, code, _ = await _replies(app, [opening(), *(frame(i, image) for i, image in enumerate(images))])
    results = [reply.result for reply in replies[1:]]
    assert code is grpc.StatusCode.OK
    assert [result.WhichOneof("outcome") for result in results] == ["features", "error", "error", "error", "features"]
    assert [result.error.reason for result in results[1:4]] == [
        feature_pb2.ERROR_REASON_INVALID_IMAGE,
        feature_pb2.ERROR_REASON_INVALID_IMAGE,
        feature_pb2.ERROR_REASON_EXECUTION_FAILED,
    ]
    assert results[2].error.message == "there is no image: neither `encoded` nor `raw` is set"


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "the first message of a stream must be its options"),
        ([frame(0)], "the first message of a stream must be its options"),
        (
            [opening(outputs=["Cell_99"])],
            "there is no output 'Cell_99': these weights give global_pool, Logits, Predictions",
        ),
        ([opening(overload_policy=9)], "overload policy 9 is not one of BLOCK, DROP_OLDEST, LATEST_ONLY, REJECT"),
        ([opening(stream_id="é" * 65)], "a stream id has at most 128 bytes"),
        ([opening(backlog=33)], "a backlog of 33 frames does not fit into a window of 32"),
        ([opening(delivery_order=9)], "delivery order 9 is neither ORDERED nor AS_COMPLETED"),
        ([opening(priority=9)], "priority 9 is not one of LOW, NORMAL and HIGH"),
    ],
)
async def test_a_stream_that_opens_wrongly_is_refused(app: App, requests: list[Request], message: str) -> None:
    """The call ends with INVALID_ARGUMENT before anything is granted, and says what is allowed."""
    replies, code, details = await _replies(app, requests)
    assert (replies, code) == ([], grpc.StatusCode.INVALID_ARGUMENT)
    assert message in details


async def test_as_completed_does_not_wait_for_a_bad_frame_before_it() -> None:
    """Without order, a result is sent when it is ready: quick failures overtake a slow batch."""
    async with running(weights="sleep:0.3") as app:
        requests = [frame(0), frame(1, image_pb2.Image(encoded=b"text"))]
        as_completed = feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED
        replies, _, _ = await _replies(app, [opening(delivery_order=as_completed), *requests])
        assert [reply.result.frame_id for reply in replies[1:]] == [1, 0]
        replies, _, _ = await _replies(app, [opening(), *requests])
        assert [reply.result.frame_id for reply in replies[1:]] == [0, 1]


async def test_frames_that_wait_to_be_decoded_are_few_however_many_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undecoded images can be large: a stream holds only as many of them as threads can soon work on."""
    gate = threading.Event()

    def slow(*_: object) -> None:
        gate.wait()

    monkeypatch.setattr(decoding, "decode_into", slow)
    allowed = 2 * usable_cores().count + 1
    async with running() as app, connected(app) as stub:
        call = stub.StreamFeatures()
        await call.write(opening())
        for number in range(20):
            await call.write(frame(number, image_pb2.Image(encoded=b"x")))
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == allowed)
        # One more turn of everything would show a frame too many.
        await stub.GetModel(feature_service_pb2.GetModelRequest())
        assert metric(app, "nasfeat_in_flight_frames") == allowed
        gate.set()
        results = [await next_result(call) for _ in range(20)]
        call.cancel()
    assert [result.frame_id for result in results if result] == list(range(20))
