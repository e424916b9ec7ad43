"""Raw frames without copies: their pixels are read where gRPC left them.

protobuf copies the bytes of a field when it parses a message, and again when they are read. Of a raw frame that is
nearly all of it, twice, on the event loop. Here the pixels are cut out of the message before it is parsed
(https://protobuf.dev/programming-guides/encoding), if it is of the form that encoders write; every other message is
protobuf's alone.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from nasfeat.v1 import feature_service_pb2, image_pb2

_Request = feature_service_pb2.StreamFeaturesRequest
_METHOD = "/nasfeat.v1.FeatureService/StreamFeatures"

# Below this a copy costs less than looking.
_SMALLEST = 2**16
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def _tag(descriptor: Descriptor, name: str) -> int:
    return descriptor.fields_by_name[name].number << 3 | _LENGTH


_FRAME = _tag(_Request.DESCRIPTOR, "frame")
_FRAMES = _tag(_Request.DESCRIPTOR, "frames")
_FRAMES_FRAME = _tag(feature_service_pb2.FrameBatch.DESCRIPTOR, "frames")
# From a frame to its pixels: the tag of each field on the way.
_PATH = (
    _tag(feature_service_pb2.Frame.DESCRIPTOR, "image"),
    _tag(image_pb2.Image.DESCRIPTOR, "raw"),
    _tag(image_pb2.RawImage.DESCRIPTOR, "data"),
)


class Received(NamedTuple):
    """A message of a stream.

    Attributes:
        request: the message; the `data` of raw frames whose pixels were cut out is empty.
        pixels: those of each frame, None for a frame that has its own; empty if nothing was cut out.
        problem: why the message could not be parsed; `request` is an empty one then.
    """

    request: feature_service_pb2.StreamFeaturesRequest
    pixels: Sequence[memoryview | None]
    problem: str = ""


def receive(message: bytes) -> Received:
    """Parse a message of a stream; what is none is told by `problem`."""
    cut = _cut(message) if len(message) >= _SMALLEST else None
    rest, pixels = cut or (message, ())
    try:
        return Received(_Request.FromString(rest), pixels)
    except DecodeError as error:
        return Received(_Request(), (), f"a message cannot be parsed: {error}")


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


def _cut(message: bytes) -> tuple[bytes, list[memoryview | None]] | None:
    """Give the message without the pixels, and those; None if it is not of the form that encoders write."""
    try:
        _, tag, start, end = next(_fields(message, 0, len(message)))
        # Of several kinds of content the last would count.
        alone = end == len(message)
        if alone and tag == _FRAME:
            rest, pixels = _emptied(message, start, end)
            return _field(tag, rest), [pixels]
        if alone and tag == _FRAMES:
            rest, cut = _emptied_batch(message, start, end)
            return _field(tag, rest), cut
    except (IndexError, _OddFormError):
        pass
    return None


def _emptied_batch(message: bytes, start: int, end: int) -> tuple[bytes, list[memoryview | None]]:
    """Give the content of a batch without the pixels of its frames, and those."""
    rest, cut = b"", []
    for began, tag, content, content_end in _fields(message, start, end):
        if tag == _FRAMES_FRAME:
            frame, pixels = _emptied(message, content, content_end)
            rest += _field(tag, frame)
            cut.append(pixels)
        else:
            rest += message[began:content_end]
    return rest, cut


def _emptied(message: bytes, start: int, end: int) -> tuple[bytes, memoryview | None]:
    """Give the content of a frame without its pixels, and those; all of it and None if it is no raw frame."""
    spans = [(start, end)]
    begins = []
    for tag in _PATH:
        found = _only(message, *spans[-1], tag)
        if not found:
            return message[start:end], None
        begins.append(found[0])
        spans.append(found[1:])
    rest = b""
    # Outwards: each field anew around what is left of its content.
    for tag, began, (outer_start, outer_end), (_, inner_end) in zip(
        reversed(_PATH), reversed(begins), reversed(spans[:-1]), reversed(spans[1:]), strict=True
    ):
        rest = message[outer_start:began] + _field(tag, rest) + message[inner_end:outer_end]
    return rest, memoryview(message)[slice(*spans[-1])]


def _field(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _varint_of(len(content)) + content


class _OddFormError(Exception):
    """Encoders do not write this, though it may be right."""


def _only(message: bytes, start: int, end: int, wanted: int) -> tuple[int, int, int] | None:
    """Find the field with the tag `wanted`: where it begins, and its content.

    Raises:
        _OddFormError: there are several, or something strange.
        IndexError: the message ends too early.
    """
    found = None
    for began, tag, content, content_end in _fields(message, start, end):
        if tag == wanted:
            if found:
                raise _OddFormError
            found = began, content, content_end
    return found


def _fields(message: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Give each field between two places: where it begins, its tag, and its content; see `_only`."""
    while at < end:
        began, tag = at, message[at]
        at += 1
        kind = tag & 7
        # Fields over 15 have longer tags; ours have none.
        if tag >= 128:
            raise _OddFormError
        content = at
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _LENGTH:
            length, content = _varint(message, at)
            at = content + length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise _OddFormError
        if at > end:
            raise _OddFormError
        yield began, tag, content, at


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
