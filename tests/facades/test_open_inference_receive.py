"""Requests whose raw contents are cut out are what protobuf makes of them, and BYTES are taken apart rightly."""

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from nasfeat.inference.v2 import inference_pb2
from nasfeat_server.errors import InvalidRequestError
from nasfeat_server.facades.open_inference_receive import Received, receive
from nasfeat_server.facades.open_inference_tensors import images
from nasfeat_server.imaging.types import PixelFormat, RawPixels
from nasfeat_server.rpc import wire

_Request = inference_pb2.ModelInferRequest
_LARGE = bytes(range(256)) * 300

_contents = st.sampled_from((_LARGE, b"", b"short"))
_inputs = st.builds(
    _Request.InferInputTensor,
    name=st.text(max_size=5),
    datatype=st.sampled_from(("UINT8", "BYTES")),
    shape=st.lists(st.integers(-1, 400), max_size=5),
    contents=st.builds(inference_pb2.InferTensorContents, bytes_contents=st.lists(_contents, max_size=2)),
)
_requests = st.builds(
    _Request,
    model_name=st.text(max_size=9),
    id=st.text(max_size=9),
    inputs=st.lists(_inputs, max_size=3),
    raw_input_contents=st.lists(_contents, max_size=3),
)


def _whole(message: bytes) -> _Request:
    """Receive `message`, and put its raw contents back."""
    request, raw = receive(message)
    contents = [bytes(content) for content in raw]
    del request.raw_input_contents[:]
    request.raw_input_contents.extend(contents)
    request.DiscardUnknownFields()
    return request


@settings(max_examples=40)
@given(_requests)
def test_nothing_but_raw_contents_is_cut_out(request: _Request) -> None:
    """Whatever a request has, it is whole again when they are put back."""
    assert _whole(request.SerializeToString()) == request


@settings(max_examples=40)
@given(_requests, st.data())
def test_damaged_messages_are_read_as_protobuf_reads_them(request: _Request, data: st.DataObject) -> None:
    """Cut short or with bytes changed: the same message, or no message for both."""
    message = bytearray(request.SerializeToString())
    for place in data.draw(st.lists(st.integers(0, max(0, len(message) - 1)), max_size=3)):
        message[place : place + 1] = data.draw(st.binary(max_size=3))
    cut_short = bytes(message)[: data.draw(st.integers(0, len(message)))]
    for damaged in (bytes(message), cut_short):
        try:
            expected = _Request.FromString(damaged)
        except DecodeError:
            with pytest.raises(DecodeError):
                receive(damaged)
        else:
            expected.DiscardUnknownFields()
            assert _whole(damaged) == expected


def test_large_contents_stay_where_they_are() -> None:
    """They are views of the message, and none of its bytes is parsed."""
    message = _Request(model_name="x", raw_input_contents=[_LARGE]).SerializeToString()
    request, [raw] = receive(message)
    assert isinstance(raw, memoryview)
    assert raw.obj is message
    assert not request.raw_input_contents
    assert len(message) >= wire.LARGE


def _any(_: int) -> None:
    """Allow any number of images."""


def _received(contents: Any, *shape: int, datatype: str = "BYTES") -> Received:
    request = _Request(raw_input_contents=[contents])
    request.inputs.add(name="image", datatype=datatype, shape=shape)
    return Received(request, request.raw_input_contents)


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_elements_come_apart_as_they_were_put_together(files: list[bytes]) -> None:
    """Each behind its length, in four bytes, the lowest first; empty ones too."""
    contents = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    assert list(images(_received(contents, len(files)), 32, 32, _any)) == files


@pytest.mark.parametrize("contents", [b"\x05\0\0\0abcd", b"\x01\0\0", b"\xff\xff\xff\xffa", b"\x01\0\0\0a\x02\0\0\0b"])
def test_elements_that_end_too_early_are_refused(contents: bytes) -> None:
    """With the number of the element, and how it should be."""
    with pytest.raises(InvalidRequestError, match=r"element [01] of input 'image' ends behind the \d+ bytes"):
        images(_received(contents, 1), 32, 32, _any)


def test_pixels_are_cut_into_pictures_without_a_copy() -> None:
    """Each picture is a part of the message."""
    data = memoryview(bytes(range(256)) * 24)[: 2 * 32 * 32 * 3]
    request = _Request()
    request.inputs.add(name="image", datatype="UINT8", shape=[2, 32, 32, 3])
    first, second = images(Received(request, [data]), 32, 32, _any)
    assert isinstance(first, RawPixels)
    assert isinstance(second, RawPixels)
    assert (second.pixel_format, second.height, second.width) == (PixelFormat.RGB8, 32, 32)
    assert isinstance(second.data, memoryview)
    assert second.data.obj is data.obj
    assert bytes(first.data) + bytes(second.data) == bytes(data)


def test_raw_and_typed_contents_are_one_too_many() -> None:
    """The protocol has either."""
    received = _received(b"", 0)
    received.request.inputs[0].contents.bytes_contents.append(b"a")
    with pytest.raises(InvalidRequestError, match="both contents and raw_input_contents"):
        images(received, 32, 32, _any)
    two = Received(received.request, [b"", b""])
    with pytest.raises(InvalidRequestError, match="2 raw_input_contents for 1 input"):
        images(two, 32, 32, _any)


def test_no_more_elements_are_taken_apart_than_there_may_be() -> None:
    """Of a message of nothing but lengths, one behind the last is looked at."""
    with pytest.raises(InvalidRequestError, match=r"of shape \[2\] has more elements"):
        images(_received(bytes(4 * 10**6), 2), 32, 32, _any)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 255), min_size=12, max_size=12))
def test_numbers_are_read_as_they_lie_on_the_wire(numbers: list[int]) -> None:
    """Of whatever lengths they are there: each becomes a byte, or as floats keeps its bytes."""
    request = _Request()
    request.inputs.add(name="image", datatype="UINT8", shape=[1, 2, 2, 3])
    request.inputs[0].contents.uint_contents.extend(numbers)
    [pixels] = images(Received(request, ()), 2, 2, _any)
    assert isinstance(pixels, RawPixels)
    assert list(bytes(pixels.data)) == numbers
    request.inputs[0].datatype = "FP32"
    with pytest.raises(InvalidRequestError, match="neither raw_input_contents nor fp32_contents alone"):
        images(Received(request, ()), 2, 2, _any)
    request.inputs[0].contents.Clear()
    request.inputs[0].contents.fp32_contents.extend(number / 256 for number in numbers)
    [floats] = images(Received(request, ()), 2, 2, _any)
    assert isinstance(floats, RawPixels)
    assert np.frombuffer(floats.data, "<f4").tolist() == [number / 256 for number in numbers]
