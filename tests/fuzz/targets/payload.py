"""Messages of streams and calls: with pixels cut out they are what protobuf makes of them, or refused as there."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from tests.fuzz.samples import extractions, mutate, stream_messages
from tests.fuzz.target import Target

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.rpc import payload

_Call = feature_service_pb2.ExtractFeaturesRequest
_Request = feature_service_pb2.StreamFeaturesRequest


def _check(data: bytes) -> None:
    _compare(data, _Request, payload.receive, payload._cut, _images)
    _compare(data, _Call, payload.receive_call, payload._cut_call, lambda call: call.images)


def _compare(
    data: bytes,
    kind: Any,
    receive: Callable[[bytes], payload.Received[Any]],
    cut_out: Callable[[bytes], tuple[bytes, list[memoryview | None]] | None],
    images_of: Callable[[Any], Sequence[image_pb2.Image]],
) -> None:
    try:
        expected = kind.FromString(data)
    except DecodeError:
        expected = None
    # Of small ones, too, which the server leaves to protobuf.
    cut = cut_out(data)
    assert bool(receive(data).problem) == (expected is None)
    if cut is None:
        return
    rest, pixels = cut
    try:
        request = kind.FromString(rest)
    except DecodeError:
        assert expected is None
        return
    _put_back(images_of(request), pixels)
    assert request == expected


def _images(request: _Request) -> Sequence[image_pb2.Image]:
    frames = [request.frame] if request.HasField("frame") else request.frames.frames
    return [frame.image for frame in frames]


def _put_back(images: Sequence[image_pb2.Image], pixels: Sequence[memoryview | None]) -> None:
    assert len(images) == len(pixels)
    for image, cut in zip(images, pixels, strict=True):
        if cut is not None:
            assert image.raw.data == b""
            image.raw.data = bytes(cut)


def _seeds() -> Iterator[bytes]:
    for message in (*stream_messages(), *extractions()):
        yield message.SerializeToString()


TARGET = Target(
    name="payload",
    what="messages of streams and calls, compared to protobuf's own parse: rpc/payload.py",
    open=lambda: contextlib.nullcontext(_check),
    seeds=_seeds,
    mutate=mutate,
)
