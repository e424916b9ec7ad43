"""Pixels without a container: strict about their sizes, since a wrong stride would otherwise be a skewed picture."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.checks import check_bytes, check_pixels
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.resize import write_resized
from nasfeat_server.imaging.types import ImageLimits, PixelFormat, RawPixels
from nasfeat_server.imaging.yuv import write_yuv

_BYTES_A_PIXEL = {
    PixelFormat.RGB8: 3,
    PixelFormat.BGR8: 3,
    PixelFormat.GRAY8: 1,
    PixelFormat.RGBA8: 4,
    PixelFormat.NV12: 1,
    PixelFormat.I420: 1,
    PixelFormat.RGB_FLOAT32: 12,
}
_PLANAR = frozenset({PixelFormat.NV12, PixelFormat.I420})
# Pillow's image mode, and its name for how the bytes of that mode lie.
_PILLOW_MODES = {
    PixelFormat.RGB8: ("RGB", "RGB"),
    PixelFormat.BGR8: ("RGB", "BGR"),
    PixelFormat.GRAY8: ("L", "L"),
    PixelFormat.RGBA8: ("RGB", "RGBX"),
}


def write_raw(raw: RawPixels, out: npt.NDArray[np.uint8], limits: ImageLimits, framing: Framing) -> None:
    """Check `raw`, convert it to RGB, bring it to the shape of `out` and write it there.

    Args:
        raw: the pixels.
        out: uint8 [height, width, 3].
        limits: what is too large.
        framing: which part of the picture is taken, and where it goes.

    Raises:
        InvalidImageError: names the size, stride, length or value that is wrong, and what it must be.
    """
    data = memoryview(raw.data).cast("B")
    check_bytes(len(data), limits)
    check_pixels(width=raw.width, height=raw.height, limits=limits)
    stride = _checked_stride(raw, len(data))
    if raw.pixel_format in _PLANAR:
        write_yuv(_rows(data, stride), raw, out, framing)
    elif raw.pixel_format is PixelFormat.RGB_FLOAT32:
        write_resized(Image.fromarray(_bytes_of_floats(_rows(data, stride), raw.width)), out, framing)
    elif is_plain_copy(raw, out.shape, framing):
        out[...] = _rows(data, stride)[:, : 3 * raw.width].reshape(out.shape)
    else:
        mode, layout = _PILLOW_MODES[raw.pixel_format]
        write_resized(Image.frombytes(mode, (raw.width, raw.height), data, "raw", layout, stride), out, framing)


def is_plain_copy(raw: RawPixels, shape: tuple[int, ...], framing: Framing) -> bool:
    """Tell whether `raw` is written to an output of `shape` as it is, which costs next to nothing."""
    return raw.pixel_format is PixelFormat.RGB8 and framing.keeps(shape, raw.width, raw.height)


def _rows(data: memoryview, stride: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(-1, stride)


def _checked_stride(raw: RawPixels, length: int) -> int:
    """Give the stride in force, once it and the length of the data are known to be right."""
    name, height, width = raw.pixel_format.value, raw.height, raw.width
    row = width * _BYTES_A_PIXEL[raw.pixel_format]
    stride = raw.row_stride or row
    if stride < row:
        raise InvalidImageError(f"row stride is {stride} bytes, but a row of {width} {name} pixels is {row} bytes")
    planar = raw.pixel_format in _PLANAR
    if planar and (height % 2 or width % 2):
        raise InvalidImageError(f"{name} image is {width}x{height}; both must be even")
    if planar and stride % 2:
        raise InvalidImageError(f"row stride of a {name} image is {stride} bytes; it must be even")
    rows = height * 3 // 2 if planar else height
    if length != rows * stride:
        kind = f"{width}x{height} {name} with rows of {stride} bytes"
        raise InvalidImageError(f"data is {length} bytes, but {kind} is exactly {rows * stride} bytes")
    return stride


def _bytes_of_floats(rows: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """Check and round float32 in [0, 1]: uint8 [height, stride] -> uint8 [height, width, 3]."""
    values = np.ascontiguousarray(rows[:, : 12 * width]).view("<f4").reshape(len(rows), width, 3)
    strange = values.size - np.count_nonzero(np.isfinite(values))
    if strange:
        raise InvalidImageError(f"{strange} of {values.size} RGB_FLOAT32 values are NaN or infinite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise InvalidImageError(f"RGB_FLOAT32 values go from {low:g} to {high:g}; they must be in [0, 1]")
    return np.rint(values * np.float32(255)).astype(np.uint8)
