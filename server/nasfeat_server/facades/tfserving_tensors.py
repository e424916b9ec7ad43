"""Between TensorFlow's tensors and images."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasfeat.tfserving.v1 import tensor_pb2
from nasfeat_server.errors import InvalidRequestError
from nasfeat_server.facades.pixels import bytes_of_varints, pictures_of, shown
from nasfeat_server.imaging.types import PixelFormat, RawPixels

FLOAT, UINT8, _STRING = tensor_pb2.DATA_TYPE_FLOAT, tensor_pb2.DATA_TYPE_UINT8, tensor_pb2.DATA_TYPE_STRING
_LAYOUTS: Mapping[int, PixelFormat] = {FLOAT: PixelFormat.RGB_FLOAT32, UINT8: PixelFormat.RGB8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures of a tensor, whose values may still have to be brought to the form of pixels.

    Attributes:
        count: how many there are.
        read: makes them, in their order; takes milliseconds if the tensor has varints.
        is_quick: whether it takes no time to speak of.
    """

    count: int
    read: Callable[[], Sequence[bytes | RawPixels]]
    is_quick: bool


def pictures(tensor: tensor_pb2.Tensor, cut: Mapping[str, memoryview], height: int, width: int) -> Pictures:
    """Check the input of a signature, all but the values.

    Args:
        tensor: DT_FLOAT or DT_UINT8 [N, height, width, 3], or DT_STRING [N].
        cut: the values that are not in it, by their fields' names.
        height: the network's.
        width: likewise.

    Raises:
        InvalidRequestError: names the dtype, the shape or the number of values, and what it must be.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.dtype == _STRING:
        return _files(tensor, shape)
    if tensor.dtype not in (FLOAT, UINT8):
        raise InvalidRequestError(
            f"input `images` is {_name(tensor.dtype)}; it must be DT_FLOAT, DT_UINT8, or DT_STRING of picture files"
        )
    if len(shape) != 4 or shape[1:] != (height, width, 3) or shape[0] < 0 or tensor.tensor_shape.unknown_rank:
        raise InvalidRequestError(
            f"input `images` has shape {shown(shape)}; {_name(tensor.dtype)} must be [N, {height}, {width}, 3], and "
            "pictures of other sizes come as DT_STRING, as files"
        )
    if data := cut.get("tensor_content") or tensor.tensor_content:
        return _pixels(memoryview(data), shape, tensor.dtype)
    if tensor.dtype == FLOAT:
        return _pixels(memoryview(cut.get("float_val") or tensor.float_val), shape, tensor.dtype)
    return _varints(cut.get("int_val") or tensor.int_val, shape)


def _files(tensor: tensor_pb2.Tensor, shape: tuple[int, ...]) -> Pictures:
    files = tensor.string_val
    if shape != (len(files),):
        raise InvalidRequestError(
            f"input `images` has shape {shown(shape)} and {len(files)} string_val; DT_STRING must be [N], N of them"
        )
    return Pictures(count=len(files), read=lambda: tuple(files), is_quick=True)


def _pixels(data: memoryview, shape: tuple[int, ...], dtype: int) -> Pictures:
    pixels = pictures_of(data, shape, _LAYOUTS[dtype], name="`images`", values="values")
    return Pictures(count=shape[0], read=lambda: pixels, is_quick=True)


def _varints(data: bytes | memoryview, shape: tuple[int, ...]) -> Pictures:
    wanted = math.prod(shape)
    # One that is up to 255 takes one byte or two.
    if not wanted <= len(data) <= 2 * wanted:
        raise InvalidRequestError(
            f"input `images` of shape {shown(shape)} takes {wanted} values from 0 to 255; int_val has others"
        )

    def read() -> Sequence[bytes | RawPixels]:
        values = bytes_of_varints(np.frombuffer(data, np.uint8))
        return pictures_of(values.data, shape, _LAYOUTS[UINT8], name="`images`", values="values")

    return Pictures(count=shape[0], read=read, is_quick=False)


def shape_of(sizes: Sequence[int]) -> tensor_pb2.TensorShape:
    """Write a shape, in which -1 stands for any length."""
    return tensor_pb2.TensorShape(dim=[tensor_pb2.TensorShape.Dim(size=size) for size in sizes])


def floats(values: bytes, shape: Sequence[int]) -> tensor_pb2.Tensor:
    """Write float32, little-endian, as a tensor: in `float_val`, where TensorFlow Serving puts it and clients look."""
    return tensor_pb2.Tensor(dtype=FLOAT, tensor_shape=shape_of(shape), float_val=values)


def _name(dtype: int) -> str:
    if dtype == tensor_pb2.DATA_TYPE_UNSPECIFIED:
        return "DT_INVALID"
    names = tensor_pb2.DataType.DESCRIPTOR.values_by_number
    return names[dtype].name.replace("DATA_TYPE", "DT") if dtype in names else f"dtype {dtype}"
