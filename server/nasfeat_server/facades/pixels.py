"""What tensors of pixels are in every protocol: where each picture begins, and how a shape is told."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import InvalidRequestError
from nasfeat_server.imaging.types import PixelFormat, RawPixels

_BYTES = {PixelFormat.RGB8: 1, PixelFormat.RGB_FLOAT32: 4}


def pictures_of(
    data: memoryview, shape: Sequence[int], layout: PixelFormat, *, name: str, values: str
) -> list[RawPixels]:
    """Cut the values of a tensor into its pictures, without a copy.

    Args:
        data: bytes, of N pictures one behind the other.
        shape: [N, height, width, 3].
        layout: RGB8 or RGB_FLOAT32.
        name: the tensor's, for the error.
        values: what there must be enough bytes of, likewise.

    Raises:
        InvalidRequestError: there are more or fewer bytes than the shape takes.
    """
    count, height, width, _ = shape
    each = _BYTES[layout] * math.prod(shape[1:])
    if len(data) != count * each:
        raise InvalidRequestError(
            f"input {name} of shape {shown(shape)} takes {count * each} bytes of {values}; there are {len(data)}"
        )
    return [
        RawPixels(data=data[start : start + each], pixel_format=layout, height=height, width=width)
        for start in range(0, count * each, each)
    ]


def bytes_of_varints(varints: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Read packed numbers of 0 to 255: uint8 [bytes] as on the wire -> uint8 [numbers].

    Raises:
        InvalidRequestError: one is none of these, or ends too early.
    """
    goes_on = varints >= 128
    if not goes_on.any():
        return varints
    following = np.append(varints[1:], np.uint8(0))
    # What follows the lower seven bits is the eighth, and the end.
    if goes_on[-1] or (following[goes_on] > 1).any():
        raise InvalidRequestError("int_val has a value that is not from 0 to 255")
    values: npt.NDArray[np.uint8] = np.where(goes_on, varints & 127 | following << 7, varints)
    begins: npt.NDArray[np.bool_] = np.append(True, ~goes_on[:-1])
    return values[begins]


def shown(shape: Sequence[int]) -> str:
    """Write a shape; cut, since a status travels in headers of a few kilobytes."""
    return f"[{', '.join(map(str, shape[:8]))}{', ...' if len(shape) > 8 else ''}]"
