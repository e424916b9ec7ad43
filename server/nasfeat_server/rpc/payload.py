"""Raw frames without copies: their pixels are read where gRPC left them.

protobuf copies the bytes of a field when it parses a message, and again when they are read. Of a raw frame that is
nearly all of it, twice, on the event loop. Here the pixels are cut out of the message before it is parsed
(https://protobuf.dev/programming-guides/encoding), if it is of the form that encoders write; every other message is
protobuf's alone.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio

from nasfeat.v1 import feature_service_pb2, image_pb2

_Request = feature_service_pb2.StreamFeaturesRequest
_METHOD = "/nasfeat.v1.FeatureService/StreamFeatures"

# Below this a copy costs less than looking.
_SMALLEST = 2**16
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
# From the message to the pixels: the tag of each field on the way.
_PATH = tuple(
    descriptor.fields_by_name[name].number << 3 | _LENGTH
    for descriptor, name in (
        (_Request.DESCRIPTOR, "frame"),
        (feature_service_pb2.Frame.DESCRIPTOR, "image"),
        (image_pb2.Image.DESCRIPTOR, "raw"),
        (image_pb2.RawImage.DESCRIPTOR, "data"),
    )
)


class Received(NamedTuple):
    """A message of a stream, and the pixels of its raw frame if they were cut out: its own `data` is then empty."""

    request: feature_service_pb2.StreamFeaturesRequest
    pixels: memoryview | None


def receive(message: bytes) -> Received:
    """Parse a message of a stream.

    Raises:
        google.protobuf.message.DecodeError: it is none.
    """
    cut = _cut(message) if len(message) >= _SMALLEST else None
    if not cut:
        return Received(_Request.FromString(message), None)
    rest, pixels = cut
    return Received(_Request.FromString(rest), pixels)


class ReceiveInterceptor(grpc.aio.ServerInterceptor):
    """Has the messages of streams parsed by `receive`."""

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of a call."""
        handler = await continuation(handler_call_details)
        if not handler or not handler.stream_stream or handler_call_details.method != _METHOD:
            return handler
        return grpc.stream_stream_rpc_method_handler(
            handler.stream_stream, request_deserializer=receive, response_serializer=handler.response_serializer
        )


def _cut(message: bytes) -> tuple[bytes, memoryview] | None:
    """Give the message without the pixels, and those; None if it is not of the form that encoders write."""
    spans = [(0, len(message))]
    tags = []
    try:
        for tag in _PATH:
            found = _only(message, *spans[-1], tag)
            if not found:
                return None
            tags.append(found[0])
            spans.append(found[1:])
    except IndexError:
        return None
    pixels = memoryview(message)[slice(*spans[-1])]
    rest = b""
    # Outwards: each field anew around what is left of its content.
    for tag, at, (start, end), (inner_start, inner_end) in zip(
        reversed(_PATH), reversed(tags), reversed(spans[:-1]), reversed(spans[1:]), strict=True
    ):
        del inner_start
        rest = message[start:at] + bytes((tag,)) + _varint_of(len(rest)) + rest + message[inner_end:end]
    return rest, pixels


def _only(message: bytes, at: int, end: int, wanted: int) -> tuple[int, int, int] | None:
    """Find the one field with the tag `wanted`: where it begins, and its content; None if it is not the only one."""
    found = None
    while at < end:
        began, tag = at, message[at]
        at += 1
        kind = tag & 7
        # Fields over 15 have longer tags; ours have none.
        if tag >= 128:
            return None
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _LENGTH:
            length, at = _varint(message, at)
            if tag == wanted:
                if found:
                    return None
                found = began, at, at + length
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            return None
    return found if at == end else None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first; gives it and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _varint_of(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
