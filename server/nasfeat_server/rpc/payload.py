"""Raw frames without copies: their pixels are read where gRPC left them.

protobuf copies the bytes of a field when it parses a message, and again when they are read. Of a raw frame that is
nearly all of it, twice, on the event loop. Here the pixels are cut out of the message before it is parsed, if it is of
the form that encoders write; every other message is protobuf's alone.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.rpc import wire

_Call = feature_service_pb2.ExtractFeaturesRequest
_Request = feature_service_pb2.StreamFeaturesRequest
_Message = TypeVar("_Message", bound=Message)
_Cut: TypeAlias = tuple[bytes, list[memoryview | None]]
_Path: TypeAlias = tuple[tuple[int, int], ...]

# Frames of a batch, or images of a call: one with more is odd, and looking at it would cost more than a copy.
_MOST_FRAMES = 4096


def _tag(descriptor: Descriptor, name: str) -> int:
    return descriptor.fields_by_name[name].number << 3 | wire.LENGTH


_IMAGES = _tag(_Call.DESCRIPTOR, "images")
_FRAME = _tag(_Request.DESCRIPTOR, "frame")
_FRAMES = _tag(_Request.DESCRIPTOR, "frames")
_FRAMES_FRAME = _tag(feature_service_pb2.FrameBatch.DESCRIPTOR, "frames")
# From an image, and from a frame, to its pixels: the tag of each field on the way, and the most fields that the message
# around it may have: one with more is odd, too. Of an image's sources the last would count.
_IMAGE_PATH = (
    (_tag(image_pb2.Image.DESCRIPTOR, "raw"), 1),
    (_tag(image_pb2.RawImage.DESCRIPTOR, "data"), 64),
)
_FRAME_PATH = ((_tag(feature_service_pb2.Frame.DESCRIPTOR, "image"), 64), *_IMAGE_PATH)


class Received(NamedTuple, Generic[_Message]):
    """A message of a call.

    Attributes:
        request: the message; the `data` of raw images whose pixels were cut out is empty.
        pixels: those of each image or frame, None for one that has its own; empty if nothing was cut out.
        problem: why the message could not be parsed; `request` is an empty one then.
    """

    request: _Message
    pixels: Sequence[memoryview | None]
    problem: str = ""


ReceivedCall: TypeAlias = Received[feature_service_pb2.ExtractFeaturesRequest]
ReceivedMessage: TypeAlias = Received[feature_service_pb2.StreamFeaturesRequest]


def receive(message: bytes) -> ReceivedMessage:
    """Parse a message of a stream; what is none is told by `problem`."""
    return _receive(message, _Request, _cut, "a message")


def receive_call(message: bytes) -> ReceivedCall:
    """Parse the message of an ExtractFeatures call, likewise."""
    return _receive(message, _Call, _cut_call, "the message")


METHODS: Mapping[str, Callable[[bytes], Received[Any]]] = {
    "/nasfeat.v1.FeatureService/ExtractFeatures": receive_call,
    "/nasfeat.v1.FeatureService/StreamFeatures": receive,
}
"""What parses the messages of each method that brings images."""


class ReceiveInterceptor(grpc.aio.ServerInterceptor):
    """Has the messages of `METHODS` parsed by what is named there."""

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of a call."""
        handler = await continuation(handler_call_details)
        parse = METHODS.get(handler_call_details.method)
        if not handler or not parse:
            return handler
        make: Any = (
            grpc.stream_stream_rpc_method_handler if handler.stream_stream else grpc.unary_unary_rpc_method_handler
        )
        made: grpc.RpcMethodHandler[Any, Any] = make(
            handler.stream_stream or handler.unary_unary,
            request_deserializer=parse,
            response_serializer=handler.response_serializer,
        )
        return made


def _receive(
    message: bytes, kind: type[_Message], cut_out: Callable[[bytes], _Cut | None], name: str
) -> Received[_Message]:
    cut = cut_out(message) if len(message) >= wire.LARGE else None
    rest, pixels = cut or (message, ())
    if problem := wire.excess(rest, cast("Descriptor", kind.DESCRIPTOR)):
        return Received(kind(), (), f"{name} cannot be parsed: {problem}")
    try:
        return Received(kind.FromString(rest), pixels)
    except DecodeError as error:
        return Received(kind(), (), f"{name} cannot be parsed: {error}")


def _cut_call(message: bytes) -> _Cut | None:
    """Give the message of a call without the pixels of its images, and those; None as `_cut`."""
    try:
        return _emptied_batch(message, 0, len(message), _IMAGES, _IMAGE_PATH)
    except (wire.MalformedError, _OddFormError):
        return None


def _cut(message: bytes) -> _Cut | None:
    """Give the message without the pixels, and those; None if it is not of the form that encoders write."""
    try:
        # Of several kinds of content the last would count.
        ((_, tag, start, end),) = itertools.islice(wire.fields(message, 0, len(message)), 2)
        if tag == _FRAME:
            rest, pixels = _emptied(message, start, end, _FRAME_PATH)
            return _field(tag, rest), [pixels]
        if tag == _FRAMES:
            rest, cut = _emptied_batch(message, start, end, _FRAMES_FRAME, _FRAME_PATH)
            return _field(tag, rest), cut
    except (ValueError, wire.MalformedError, _OddFormError):
        pass
    return None


def _emptied_batch(message: bytes, start: int, end: int, wanted: int, path: _Path) -> _Cut:
    """Give what is between two places without the pixels at the end of `path` in each field `wanted`, and those."""
    rest: list[bytes] = []
    cut = []
    for began, tag, content, content_end in wire.fields(message, start, end):
        if len(rest) >= _MOST_FRAMES or tag & 7 == wire.GROUP:
            raise _OddFormError
        if tag == wanted:
            emptied, pixels = _emptied(message, content, content_end, path)
            rest.append(_field(tag, emptied))
            cut.append(pixels)
        else:
            rest.append(message[began:content_end])
    return b"".join(rest), cut


def _emptied(message: bytes, start: int, end: int, path: _Path) -> tuple[bytes, memoryview | None]:
    """Give the content of a frame or image without its pixels, and those; all of it and None if it is not a raw one."""
    around: list[tuple[int, int, int, int]] = []
    for tag, most in path:
        found = _only(message, start, end, tag, most)
        if not found:
            return message[around[0][1] : around[0][3]] if around else message[start:end], None
        began, content, content_end = found
        around.append((tag, start, began, end))
        start, end = content, content_end
    pixels, rest = memoryview(message)[start:end], b""
    # Outwards: each field anew around what is left of its content.
    for tag, outer_start, began, outer_end in reversed(around):
        rest = message[outer_start:began] + _field(tag, rest) + message[end:outer_end]
        end = outer_end
    return rest, pixels


def _field(tag: int, content: bytes) -> bytes:
    return wire.varint_of(tag) + wire.varint_of(len(content)) + content


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
