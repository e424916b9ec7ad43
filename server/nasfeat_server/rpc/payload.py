"""Raw frames without copies: their pixels are read where gRPC left them.

protobuf copies the bytes of a field when it parses a message, and again when they are read. Of a raw frame that is
nearly all of it, twice, on the event loop. Here the pixels are cut out of the message before it is parsed, if it is of
the form that encoders write; every other message is protobuf's alone.
"""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.rpc import wire

_Request = feature_service_pb2.StreamFeaturesRequest
_METHOD = "/nasfeat.v1.FeatureService/StreamFeatures"

# Frames of a batch: one with more is odd, and looking at it would cost more than a copy.
_MOST_FRAMES = 4096


def _tag(descriptor: Descriptor, name: str) -> int:
    return descriptor.fields_by_name[name].number << 3 | wire.LENGTH


_FRAME = _tag(_Request.DESCRIPTOR, "frame")
_FRAMES = _tag(_Request.DESCRIPTOR, "frames")
_FRAMES_FRAME = _tag(feature_service_pb2.FrameBatch.DESCRIPTOR, "frames")
# From a frame to its pixels: the tag of each field on the way.
_PATH = (
    _tag(feature_service_pb2.Frame.DESCRIPTOR, "image"),
    _tag(image_pb2.Image.DESCRIPTOR, "raw"),
    _tag(image_pb2.RawImage.DESCRIPTOR, "data"),
)

# Fields of the message that each is in: one with more is odd, too. Of an image's sources the last would count.
_MOST_FIELDS = (64, 1, 64)


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
    cut = _cut(message) if len(message) >= wire.LARGE else None
    rest, pixels = cut or (message, ())
    if problem := wire.excess(rest, _Request.DESCRIPTOR):
        return Received(_Request(), (), f"a message cannot be parsed: {problem}")
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
        # Of several kinds of content the last would count.
        ((_, tag, start, end),) = itertools.islice(wire.fields(message, 0, len(message)), 2)
        if tag == _FRAME:
            rest, pixels = _emptied(message, start, end)
            return _field(tag, rest), [pixels]
        if tag == _FRAMES:
            rest, cut = _emptied_batch(message, start, end)
            return _field(tag, rest), cut
    except (ValueError, wire.MalformedError, _OddFormError):
        pass
    return None


def _emptied_batch(message: bytes, start: int, end: int) -> tuple[bytes, list[memoryview | None]]:
    """Give the content of a batch without the pixels of its frames, and those."""
    rest: list[bytes] = []
    cut = []
    for began, tag, content, content_end in wire.fields(message, start, end):
        if len(rest) >= _MOST_FRAMES or tag & 7 == wire.GROUP:
            raise _OddFormError
        if tag == _FRAMES_FRAME:
            frame, pixels = _emptied(message, content, content_end)
            rest.append(_field(tag, frame))
            cut.append(pixels)
        else:
            rest.append(message[began:content_end])
    return b"".join(rest), cut


def _emptied(message: bytes, start: int, end: int) -> tuple[bytes, memoryview | None]:
    """Give the content of a frame without its pixels, and those; all of it and None if it is no raw frame."""
    spans = [(start, end)]
    begins = []
    for tag, most in zip(_PATH, _MOST_FIELDS, strict=True):
        found = _only(message, *spans[-1], tag, most)
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
    return bytes((tag,)) + wire.varint_of(len(content)) + content


class _OddFormError(Exception):
    """Encoders do not write this, though it may be right."""


def _only(message: bytes, start: int, end: int, wanted: int, most: int) -> tuple[int, int, int] | None:
    """Find the field with the tag `wanted`: where it begins, and its content.

    Raises:
        _OddFormError: there are several, more than `most` fields, or something strange.
        MalformedError: the message ends too early, or is none.
    """
    found = None
    for number, (began, tag, content, content_end) in enumerate(wire.fields(message, start, end)):
        if number >= most or tag & 7 == wire.GROUP:
            raise _OddFormError
        if tag == wanted:
            if found:
                raise _OddFormError
            found = began, content, content_end
    return found
