"""Messages of streams: those whose pixels are cut out are what protobuf makes of them, or refused as it would."""

import contextlib
from collections.abc import Iterator

from google.protobuf.message import DecodeError
from tests.fuzz.samples import mutate, stream_messages
from tests.fuzz.target import Target

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.rpc import payload

_Request = feature_service_pb2.StreamFeaturesRequest


def _check(data: bytes) -> None:
    try:
        expected = _Request.FromString(data)
    except DecodeError:
        expected = None
    # Of small ones, too, which the server leaves to protobuf.
    cut = payload._cut(data)
    assert bool(payload.receive(data).problem) == (expected is None)
    if cut is None:
        return
    rest, pixels = cut
    try:
        request = _Request.FromString(rest)
    except DecodeError:
        assert expected is None
        return
    assert _put_back(request, pixels) == expected


def _put_back(request: _Request, pixels: list[memoryview | None]) -> _Request:
    frames = [request.frame] if request.HasField("frame") else request.frames.frames
    assert len(frames) == len(pixels)
    for frame, cut in zip(frames, pixels, strict=True):
        if cut is not None:
            assert frame.image.raw.data == b""
            frame.image.raw.data = bytes(cut)
    return request


def _seeds() -> Iterator[bytes]:
    for message in stream_messages():
        yield message.SerializeToString()


TARGET = Target(
    name="payload",
    what="messages of streams, compared to protobuf's own parse: rpc/payload.py",
    open=lambda: contextlib.nullcontext(_check),
    seeds=_seeds,
    mutate=mutate,
)
