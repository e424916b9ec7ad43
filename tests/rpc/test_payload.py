"""Messages whose pixels are cut out are what protobuf makes of them."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.rpc import payload, wire
from nasfeat_server.rpc.payload import receive, receive_call

_Call = feature_service_pb2.ExtractFeaturesRequest
_Request = feature_service_pb2.StreamFeaturesRequest
_DATA = bytes(range(256)) * 300

_numbers = st.integers(0, 2**32 - 1)
_raws = st.builds(
    image_pb2.RawImage,
    data=st.sampled_from((_DATA, _DATA[:70_000], b"", b"short")),
    pixel_format=st.integers(0, 9),
    height=_numbers,
    width=_numbers,
    row_stride=_numbers,
    color_matrix=st.integers(0, 3),
)
_frames = st.builds(feature_service_pb2.Frame, frame_id=st.integers(0, 2**64 - 1)).flatmap(
    lambda frame: st.one_of(
        _raws.map(lambda raw: _with(frame, image_pb2.Image(raw=raw))),
        st.just(_with(frame, image_pb2.Image(encoded=_DATA))),
        st.just(frame),
    )
)
_requests = st.one_of(
    _frames.map(lambda frame: _Request(frame=frame)),
    st.lists(_frames, max_size=3).map(lambda frames: _Request(frames=feature_service_pb2.FrameBatch(frames=frames))),
    st.builds(feature_service_pb2.StreamOptions, stream_id=st.text(max_size=9)).map(lambda one: _Request(options=one)),
)
_calls = st.builds(
    _Call,
    images=st.lists(_frames.map(lambda frame: frame.image), max_size=3),
    outputs=st.lists(st.text(max_size=9), max_size=2),
    top_k=st.integers(0, 2**32 - 1),
)


def _with(frame: feature_service_pb2.Frame, image: image_pb2.Image) -> feature_service_pb2.Frame:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" if frame.frame_id % 2 else ""
    made = feature_service_pb2.Frame(frame_id=frame.frame_id, image=image, traceparent=traceparent)
    made.capture_time.seconds = 5
    return made


def _whole(message: bytes) -> feature_service_pb2.StreamFeaturesRequest:
    """Receive `message`, and put its pixels back."""
    request, cut, problem = receive(message)
    assert not problem
    frames = [request.frame] if request.HasField("frame") else request.frames.frames
    _put_back([frame.image for frame in frames], cut)
    return request


def _whole_call(message: bytes) -> feature_service_pb2.ExtractFeaturesRequest:
    request, cut, problem = receive_call(message)
    assert not problem
    _put_back(request.images, cut)
    return request


def _put_back(images: Sequence[image_pb2.Image], cut: Sequence[memoryview | None]) -> None:
    if cut:
        assert len(cut) == len(images)
    for image, pixels in zip(images, cut, strict=False):
        if pixels is not None:
            assert image.raw.data == b""
            image.raw.data = bytes(pixels)


@given(_requests)
def test_nothing_but_the_pixels_is_cut_out(request: feature_service_pb2.StreamFeaturesRequest) -> None:
    """Whatever a client sends: with the pixels put back it is the same."""
    assert _whole(request.SerializeToString()) == request


@given(_calls)
def test_nothing_but_the_pixels_is_cut_out_of_a_call(request: feature_service_pb2.ExtractFeaturesRequest) -> None:
    """The same of a call without a stream, whichever of its images are raw."""
    assert _whole_call(request.SerializeToString()) == request


def test_pixels_are_not_copied() -> None:
    """Those of raw frames lie in the message; image files and small frames are left alone."""
    raw, file = (
        feature_service_pb2.Frame(frame_id=1, image=image)
        for image in (
            image_pb2.Image(raw=image_pb2.RawImage(data=_DATA, height=5)),
            image_pb2.Image(encoded=_DATA),
        )
    )
    small = feature_service_pb2.Frame(image=image_pb2.Image(raw=image_pb2.RawImage(data=b"small")))
    for request, expected in (
        (_Request(frame=raw), [True]),
        (_Request(frame=file), [False]),
        (_Request(frame=small), []),
        (_Request(frames=feature_service_pb2.FrameBatch(frames=[raw, file, small, raw])), [True, False, True, True]),
    ):
        message = request.SerializeToString()
        pixels = receive(message).pixels
        assert [one is not None for one in pixels] == expected
        assert all(one.obj is message for one in pixels if one is not None)


def test_pixels_of_calls_are_not_copied() -> None:
    """Those of raw images lie in the message, also behind an image file."""
    raw, file = image_pb2.Image(raw=image_pb2.RawImage(data=_DATA)), image_pb2.Image(encoded=_DATA)
    message = _Call(images=[raw, file, raw], top_k=1).SerializeToString()
    first, second, third = receive_call(message).pixels
    assert second is None
    assert all(one is not None and one.obj is message for one in (first, third))


@given(st.data())
def test_what_is_damaged_is_as_damaged_as_before(data: Any) -> None:
    """Bytes changed, cut off, repeated, merged: the same error or the same message as protobuf's own."""
    frames = st.builds(feature_service_pb2.Frame, frame_id=st.integers(0, 300))
    one = _with(data.draw(frames), image_pb2.Image(raw=data.draw(_raws)))
    batch = feature_service_pb2.FrameBatch(frames=[one, one])
    forms = (_Request(frame=one), _Request(frames=batch))
    message = _damaged(data, forms)
    try:
        expected = _Request.FromString(message)
    except DecodeError:
        assert "parse" in receive(message).problem
    else:
        assert _whole(message) == expected


@given(st.data())
def test_what_is_damaged_of_a_call_is_as_damaged_as_before(data: Any) -> None:
    """The same of a call without a stream."""
    image = image_pb2.Image(raw=data.draw(_raws))
    message = _damaged(data, (_Call(images=[image]), _Call(images=[image, image], top_k=3)))
    try:
        expected = _Call.FromString(message)
    except DecodeError:
        assert "parse" in receive_call(message).problem
    else:
        assert _whole_call(message) == expected


def _damaged(data: Any, forms: Sequence[Message]) -> bytes:
    message = bytearray(data.draw(st.sampled_from(forms)).SerializeToString())
    # The first and the last bytes are tags and lengths; between them are the pixels.
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, min(40, len(message) - 1)))
        message[place if data.draw(st.booleans()) else len(message) - 1 - place] = data.draw(st.integers(0, 255))
    damage = data.draw(st.sampled_from(("none", "cut", "twice", "unknown", "group")))
    if damage == "cut":
        del message[data.draw(st.integers(0, len(message))) :]
    elif damage == "twice":
        message += data.draw(st.sampled_from(forms)).SerializeToString()
    elif damage == "unknown":
        message += b"\x7d\x01\x02\x03\x04"
    elif damage == "group":
        message += b"\x7b\x08\x01\x7c"
    return bytes(message)


def test_the_path_is_that_of_the_protos() -> None:
    """Field numbers below 16, whose tags are single bytes."""
    assert (payload._FRAME, [tag for tag, _ in payload._FRAME_PATH]) == (0x12, [0x12, 0x12, 0x0A])
    assert all(tag < 128 for tag in (payload._IMAGES, payload._FRAMES, payload._FRAMES_FRAME))


def test_of_several_sources_the_last_counts() -> None:
    """Pixels that another source of the same image stands behind are not cut out."""
    raw, file = image_pb2.Image(raw=image_pb2.RawImage(data=_DATA)), image_pb2.Image(encoded=b"file")
    merged = raw.SerializeToString() + file.SerializeToString()
    frame = b"\x12" + wire.varint_of(len(merged)) + merged
    received = receive(b"\x12" + wire.varint_of(len(frame)) + frame)
    assert not received.pixels
    assert received.request.frame.image == file
