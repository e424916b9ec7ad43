"""What is learnt of a message before it is parsed."""

import pytest

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.rpc import wire
from nasfeat_server.rpc.payload import receive

_REQUEST = feature_service_pb2.StreamFeaturesRequest.DESCRIPTOR
_EMPTY_FRAME = b"\x0a\x00"
_MANY = 2**22


def _batch(frames: bytes) -> bytes:
    return b"\x1a" + wire.varint_of(len(frames)) + frames


@pytest.mark.parametrize("value", [0, 127, 128, 2**32, 2**64 - 1])
def test_a_number_is_read_as_it_was_written(value: int) -> None:
    """With where it ends, whatever follows."""
    written = wire.varint_of(value)
    assert wire.varint(b"x" + written + b"y", 1) == (value, 1 + len(written))


def test_a_number_without_an_end_costs_nothing() -> None:
    """Row 29: not even of megabytes, which took the event loop hours."""
    assert "parse" in receive(b"\x12" + b"\xff" * _MANY).problem
    with pytest.raises(wire.MalformedError):
        wire.varint(b"\xff" * 70, 0)
    with pytest.raises(wire.MalformedError):
        wire.varint(b"\xff", 0)


@pytest.mark.parametrize(
    "message",
    [
        _batch(_EMPTY_FRAME * _MANY),
        b"\x0a\x00" * _MANY,
        b"\x12\x00" * _MANY,
        _batch(_EMPTY_FRAME * _MANY) + b"\x07",
        b"\x7b\x7c" + _batch(_EMPTY_FRAME * _MANY),
        _batch(b"\x0a\x80\x80\x04" + _EMPTY_FRAME * 2**15) * 2,
        b"\xc2\x3e\x00" * _MANY,
    ],
    ids=["frames", "options", "frame", "broken", "group", "deep", "unknown"],
)
def test_a_message_of_nothing_but_fields_is_not_parsed(message: bytes) -> None:
    """Row 29: it would take fifty times its size; at any depth, behind anything odd, and broken or not."""
    assert "over 32768 fields" in receive(message).problem


def test_what_clients_send_is_not_too_much() -> None:
    """A large image, thousands of small ones, and what is too small to do harm."""
    image = b"\x0a\x06\x12\x04\x0a\x02\x0a\x00"
    large = feature_service_pb2.Frame(frame_id=1)
    large.image.encoded = b"\x0a\x00" * 2**20
    assert wire.excess(feature_service_pb2.StreamFeaturesRequest(frame=large).SerializeToString(), _REQUEST) == ""
    assert wire.excess(_batch(image * 8000), _REQUEST) == ""
    assert wire.excess(_EMPTY_FRAME * 2**14, _REQUEST) == ""
