"""From pictures as callers have them to the wire."""

import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nasfeat.v1 import image_pb2
from nasfeat_client.errors import InvalidImageError
from nasfeat_client.images import ColorMatrix, ColorRange, Image, PillowImage, PixelFormat, Pixels, VideoFrame

_UINT8, _FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)
_FORMATS_OF_CHANNELS = {None: PixelFormat.GRAY8, 3: PixelFormat.RGB8, 4: PixelFormat.RGBA8}
# The channels of an array of each format; None means that it has two dimensions.
_CHANNELS_OF_FORMATS = {
    PixelFormat.RGB8: 3,
    PixelFormat.BGR8: 3,
    PixelFormat.GRAY8: None,
    PixelFormat.RGBA8: 4,
    PixelFormat.NV12: None,
    PixelFormat.I420: None,
    PixelFormat.RGB_FLOAT32: 3,
}
_PLANAR = frozenset({PixelFormat.NV12, PixelFormat.I420})
_FORMATS_OF_MODES = {"RGB": PixelFormat.RGB8, "L": PixelFormat.GRAY8, "RGBA": PixelFormat.RGBA8}
_FORMATS_OF_FFMPEG = {
    "rgb24": PixelFormat.RGB8,
    "bgr24": PixelFormat.BGR8,
    "gray": PixelFormat.GRAY8,
    "rgba": PixelFormat.RGBA8,
    "nv12": PixelFormat.NV12,
    "yuv420p": PixelFormat.I420,
    "yuvj420p": PixelFormat.I420,
}
# AVCOL_SPC_BT709 and AVCOL_RANGE_JPEG of FFmpeg's pixfmt.h.
_FFMPEG_BT709, _FFMPEG_FULL_RANGE = 1, 2
# Room in a message for what is not the image.
_OVERHEAD_BYTES = 1024


def write_image(message: image_pb2.Image, image: Image, max_message_bytes: int) -> None:
    """Read and check a picture and write it into `message`, where it will be sent from: a message in hand is copied.

    Raises:
        InvalidImageError: the picture cannot be read, or is too large for a message.
        TypeError: it is nothing that can be sent.
    """
    limit = max_message_bytes - _OVERHEAD_BYTES
    match image:
        case str() | os.PathLike():
            message.encoded = _read(Path(image), limit)
        case bytes():
            message.encoded = image
        case Pixels():
            _write_array(message.raw, image.array, image.pixel_format)
            if image.pixel_format in _PLANAR:
                message.raw.color_matrix = image.color_matrix.value
                message.raw.color_range = image.color_range.value
        case np.ndarray():
            _write_array(message.raw, image, _guessed_format(image))
        case _ if all(hasattr(image, name) for name in ("mode", "size", "convert", "tobytes")):
            _write_pillow(message.raw, cast("PillowImage", image))
        case _ if all(hasattr(image, name) for name in ("format", "colorspace", "color_range", "to_ndarray")):
            _write_video_frame(message.raw, cast("VideoFrame", image))
        case _:
            allowed = "give a path, bytes, a uint8 array, Pixels, a Pillow image or a frame of PyAV's"
            raise TypeError(f"{type(image).__name__} is no image; {allowed}")
    _check_size(message.ByteSize(), limit)


def _read(path: Path, limit: int) -> bytes:
    try:
        _check_size(path.stat().st_size, limit)
        return path.read_bytes()
    except OSError as error:
        raise InvalidImageError(f"cannot read {path}: {error.strerror or error}") from error


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise InvalidImageError(f"image takes {size} bytes; this client's max_message_bytes leaves room for {limit}")


def _guessed_format(array: npt.NDArray[Any]) -> PixelFormat:
    channels = array.shape[2] if array.ndim == 3 else None
    if array.dtype != _UINT8 or array.ndim not in {2, 3} or channels not in _FORMATS_OF_CHANNELS:
        raise InvalidImageError(
            f"array is {array.dtype} {list(array.shape)}; it must be uint8 [H, W], [H, W, 3] or [H, W, 4], or be "
            "wrapped in Pixels"
        )
    return _FORMATS_OF_CHANNELS[channels]


def _write_array(message: image_pb2.RawImage, array: npt.NDArray[Any], pixel_format: PixelFormat) -> None:
    dtype = _FLOAT32 if pixel_format is PixelFormat.RGB_FLOAT32 else _UINT8
    channels = _CHANNELS_OF_FORMATS[pixel_format]
    tail = array.shape[2:]
    if array.dtype != dtype or array.ndim < 2 or tail != (() if channels is None else (channels,)):
        wanted = "[H, W]" if channels is None else f"[H, W, {channels}]"
        raise InvalidImageError(
            f"array is {array.dtype} {list(array.shape)}; {pixel_format.name} must be {dtype} {wanted}"
        )
    height, width = array.shape[:2]
    if pixel_format in _PLANAR:
        height = _luma_rows(height, pixel_format)
    _write_raw(message, array.tobytes(), pixel_format, (height, width))


def _luma_rows(rows: int, pixel_format: PixelFormat) -> int:
    if rows % 3:
        raise InvalidImageError(f"array has {rows} rows; {pixel_format.name} has 3 for every 2 rows of the picture")
    return rows * 2 // 3


def _write_pillow(message: image_pb2.RawImage, image: PillowImage) -> None:
    try:
        plain = image if image.mode in _FORMATS_OF_MODES else image.convert("RGB")
        data = plain.tobytes()
    except OSError as error:
        # Pillow decodes a file only now.
        raise InvalidImageError(f"cannot decode the Pillow image: {error}") from error
    width, height = plain.size
    _write_raw(message, data, _FORMATS_OF_MODES[plain.mode], (height, width))


def _write_video_frame(message: image_pb2.RawImage, frame: VideoFrame) -> None:
    name = frame.format.name
    pixel_format = _FORMATS_OF_FFMPEG.get(name)
    # Of an odd number of rows or columns the colours are not half as many.
    if not pixel_format or (pixel_format in _PLANAR and (frame.width % 2 or frame.height % 2)):
        _write_array(message, frame.to_ndarray(format="rgb24"), PixelFormat.RGB8)
        return
    _write_array(message, frame.to_ndarray(), pixel_format)
    if pixel_format in _PLANAR:
        full = name.startswith("yuvj") or frame.color_range == _FFMPEG_FULL_RANGE
        message.color_range = (ColorRange.FULL if full else ColorRange.LIMITED).value
        bt709 = frame.colorspace == _FFMPEG_BT709
        message.color_matrix = (ColorMatrix.BT709 if bt709 else ColorMatrix.BT601).value


def _write_raw(message: image_pb2.RawImage, data: bytes, pixel_format: PixelFormat, size: tuple[int, int]) -> None:
    message.data = data
    message.pixel_format = pixel_format.value
    message.height, message.width = size
