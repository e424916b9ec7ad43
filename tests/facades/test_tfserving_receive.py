"""Requests whose values are cut out, and values that come as varints, are what protobuf and NumPy make of them."""

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from nasfeat.tfserving.v1 import serving_pb2, tensor_pb2
from nasfeat_server.errors import InvalidRequestError
from nasfeat_server.facades.pixels import bytes_of_varints
from nasfeat_server.facades.tfserving_receive import receive
from nasfeat_server.facades.tfserving_tensors import shape_of
from nasfeat_server.rpc import wire
from tfserving import pictures, request_of, tensor

_Request = serving_pb2.PredictRequest
_LARGE = bytes(range(256)) * 300
_FIELDS = ("tensor_content", "float_val", "int_val")

_values = st.sampled_from((_LARGE, b"", b"short"))
_tensors = st.builds(
    tensor_pb2.Tensor,
    dtype=st.integers(0, 30),
    tensor_shape=st.lists(st.integers(-1, 400), max_size=5).map(shape_of),
    tensor_content=_values,
    float_val=_values,
    int_val=_values,
    string_val=st.lists(_values, max_size=3),
)
_requests = st.builds(
    _Request,
    model_spec=st.builds(serving_pb2.ModelSpec, name=st.text(max_size=9), signature_name=st.text(max_size=9)),
    inputs=st.dictionaries(st.sampled_from(("images", "x")), _tensors, max_size=2),
    output_filter=st.lists(st.text(max_size=9), max_size=3),
)


def _whole(message: bytes) -> serving_pb2.PredictRequest:
    """Receive `message`, and put its values back."""
    request, cut = receive(message)
    # An input with fields that are unknown is none at all, neither here nor there.
    for found in request.inputs.values() if cut else ():
        for name, values in cut.items():
            assert not getattr(found, name)
            setattr(found, name, bytes(values))
    return _known(request)


def _known(request: serving_pb2.PredictRequest) -> serving_pb2.PredictRequest:
    request.DiscardUnknownFields()
    return request


@given(_requests)
def test_nothing_but_the_values_is_cut_out(request: serving_pb2.PredictRequest) -> None:
    """Whatever a request has, it is whole again when its values are put back."""
    assert _whole(request.SerializeToString()) == request


@pytest.mark.parametrize("name", _FIELDS)
def test_values_are_not_copied(name: str) -> None:
    """Those of a usual request are where gRPC left them, whichever field they are in."""
    pixels = tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_UINT8)
    setattr(pixels, name, _LARGE)
    message = request_of(pixels).SerializeToString()
    cut = receive(message).values
    assert list(cut) == [name]
    assert cut[name].obj is message


@given(st.data())
def test_what_is_damaged_is_as_damaged_as_before(data: Any) -> None:
    """A byte changed or the end missing: the message is the same as protobuf's, or refused as it is there."""
    message = bytearray(request_of(tensor(pictures(24))).SerializeToString())
    at = data.draw(st.one_of(st.integers(0, 60), st.integers(0, len(message) - 1)))
    if data.draw(st.booleans()):
        message[at] = data.draw(st.integers(0, 255))
    else:
        del message[at:]
    try:
        expected = _known(_Request.FromString(bytes(message)))
    except DecodeError:
        with pytest.raises(DecodeError):
            receive(bytes(message))
    else:
        assert _whole(bytes(message)) == expected


def test_fields_that_come_twice_count_as_they_do_to_protobuf() -> None:
    """Of values that come twice the last ones count, and so does the last input of one name."""
    first, second = (request_of(tensor(pictures(24, seed))).SerializeToString() for seed in (1, 2))
    twice = _Request.FromString(first + second)
    assert _whole(first + second) == twice
    values = b"".join(b"\x22" + wire.varint_of(len(part)) + part for part in (_LARGE, _LARGE[::-1]))
    entry = b"\x0a\x06images\x12" + wire.varint_of(len(values)) + values
    message = b"\x12" + wire.varint_of(len(entry)) + entry
    assert _whole(message) == _Request.FromString(message)
    assert _Request.FromString(message).inputs["images"].tensor_content == _LARGE[::-1]


@given(st.lists(st.integers(0, 255), max_size=300))
def test_packed_numbers_are_read_as_bytes(numbers: list[int]) -> None:
    """What an encoder writes of numbers from 0 to 255 is read back."""
    packed = b"".join(map(wire.varint_of, numbers))
    assert bytes_of_varints(np.frombuffer(packed, np.uint8)).tolist() == numbers


@given(
    st.lists(st.integers(0, 255), max_size=9),
    st.one_of(st.integers(256, 2**31), st.integers(2**64 - 2**31, 2**64 - 1)),
    st.lists(st.integers(0, 255), max_size=9),
)
def test_other_numbers_are_refused(before: list[int], number: int, after: list[int]) -> None:
    """One over 255, or below 0, which is a very large one on the wire, is found wherever it stands."""
    packed = b"".join(map(wire.varint_of, (*before, number, *after)))
    with pytest.raises(InvalidRequestError, match="from 0 to 255"):
        bytes_of_varints(np.frombuffer(packed, np.uint8))


def test_a_number_without_an_end_is_refused() -> None:
    """The last byte says that there is another one."""
    with pytest.raises(InvalidRequestError, match="from 0 to 255"):
        bytes_of_varints(np.frombuffer(b"\x01\x80", np.uint8))
