"""Between the protocol's tensors and images."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nasfeat.inference.v2 import inference_pb2
from nasfeat_server.errors import InvalidRequestError
from nasfeat_server.facades.open_inference_receive import Received
from nasfeat_server.facades.pixels import bytes_of_varints, pictures_of, shown
from nasfeat_server.imaging.types import PixelFormat, RawPixels
from nasfeat_server.rpc import wire

INPUT = "image"
Images = Sequence[bytes | RawPixels]

_Tensor = inference_pb2.ModelInferRequest.InferInputTensor
_LAYOUTS: Mapping[str, PixelFormat] = {"UINT8": PixelFormat.RGB8, "FP32": PixelFormat.RGB_FLOAT32}
_FIELDS: Mapping[str, str] = {"UINT8": "uint_contents", "FP32": "fp32_contents"}
# Raw elements of BYTES stand behind their length in so many bytes, the lowest first.
_PREFIX = 4


def images(received: Received, height: int, width: int, check: Callable[[int], None]) -> Images:
    """Give the images of a request.

    Args:
        received: has one input, `image`: UINT8 or FP32 [N, height, width, 3], or BYTES [N] or [N, 1] of picture files.
        height: the network's.
        width: likewise.
        check: raises InvalidRequestError for a number of images that a request may not have, before they are looked at.

    Raises:
        InvalidRequestError: names the input, datatype, shape or number of bytes that is wrong, and what it must be.
    """
    tensor, raw = _only_input(received)
    if "shared_memory_region" in tensor.parameters:
        raise InvalidRequestError(f"input {INPUT!r} is in shared memory, which this server does not read")
    shape = tuple(tensor.shape)
    if tensor.datatype == "BYTES":
        if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
            raise InvalidRequestError(f"input {INPUT!r} has shape {shown(shape)}; BYTES must be [N] or [N, 1]")
        check(shape[0])
        files = _elements(raw, shape[0]) if raw is not None else tensor.contents.bytes_contents
        return _counted(tuple(files), shape[0])
    if tensor.datatype not in _LAYOUTS:
        raise InvalidRequestError(
            f"input {INPUT!r} is {tensor.datatype[:16]!r}; it must be UINT8, FP32 of 0 to 1, or BYTES of picture files"
        )
    if len(shape) != 4 or shape[0] < 0 or shape[1:] != (height, width, 3):
        raise InvalidRequestError(
            f"input {INPUT!r} has shape {shown(shape)}; {tensor.datatype} must be [N, {height}, {width}, 3], and "
            "pictures of other sizes come as BYTES, as files"
        )
    check(shape[0])
    data = memoryview(raw) if raw is not None else _typed(tensor, math.prod(shape))
    return pictures_of(data, shape, _LAYOUTS[tensor.datatype], name=repr(INPUT), values=tensor.datatype)


def _only_input(received: Received) -> tuple[_Tensor, bytes | memoryview | None]:
    """Find the input, and its raw contents if it has no others."""
    tensors, raw = received.request.inputs, received.raw
    names = [tensor.name for tensor in tensors]
    if names != [INPUT]:
        given = ", ".join(repr(name[:80]) for name in names[:8]) or "none"
        raise InvalidRequestError(f"the inputs are {given}; the model takes {INPUT!r} and nothing else")
    if not raw:
        return tensors[0], None
    if len(raw) != 1:
        raise InvalidRequestError(f"there are {len(raw)} raw_input_contents for 1 input")
    if tensors[0].HasField("contents"):
        raise InvalidRequestError(f"input {INPUT!r} has both contents and raw_input_contents; it must have one of them")
    return tensors[0], raw[0]


def _typed(tensor: _Tensor, count: int) -> memoryview:
    """Give `count` elements that are in fields of numbers, as bytes.

    protobuf gives numbers one by one, which takes the event loop 10 ms for a picture of the network's size; as they lie
    on the wire they are read all at once.
    """
    name = _FIELDS[tensor.datatype]
    if [field.name for field, _ in tensor.contents.ListFields()] != [name]:
        raise InvalidRequestError(f"input {INPUT!r} has neither raw_input_contents nor {name} alone in its contents")
    there = len(getattr(tensor.contents, name))
    if there != count:
        raise InvalidRequestError(
            f"input {INPUT!r} of shape {shown(tensor.shape)} takes {count} {name}; there are {there}"
        )
    written = tensor.contents.SerializeToString()
    _, _, start, end = next(wire.fields(written, 0, len(written)))
    packed = memoryview(written)[start:end]
    if tensor.datatype == "FP32":
        return packed
    try:
        return bytes_of_varints(np.frombuffer(packed, np.uint8)).data
    except InvalidRequestError:
        raise InvalidRequestError(f"input {INPUT!r} has {name} that are over 255") from None


def _elements(raw: bytes | memoryview, most: int) -> Sequence[bytes]:
    """Take BYTES apart, as far as one behind the last; each element is copied, since decoders want bytes."""
    data, at = memoryview(raw), 0
    found: list[bytes] = []
    while at < len(data) and len(found) <= most:
        end = at + _PREFIX + int.from_bytes(data[at : at + _PREFIX], "little")
        if at + _PREFIX > len(data) or end > len(data):
            raise InvalidRequestError(
                f"element {len(found)} of input {INPUT!r} ends behind the {len(data)} bytes of its raw contents; "
                "before each element stands its length, in 4 bytes, the lowest first"
            )
        found.append(bytes(data[at + _PREFIX : end]))
        at = end
    return found


def _counted(files: Images, count: int) -> Images:
    if len(files) != count:
        there = "more" if len(files) > count else len(files)
        raise InvalidRequestError(f"input {INPUT!r} of shape [{count}] has {there} elements")
    return files
