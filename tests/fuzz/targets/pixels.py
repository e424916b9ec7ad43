"""Raw pixels: a few bytes choose format, size and stride, the others are the pixels."""

import contextlib
import struct
from collections.abc import Iterator

from tests.fuzz.target import Target
from tests.fuzz.targets.images import decode

from nasfeat_server.imaging.types import ColorMatrix, ColorRange, PixelFormat, RawPixels

_FORMATS = tuple(PixelFormat)
_MATRICES = tuple(ColorMatrix)
_RANGES = tuple(ColorRange)
# Framing and size of the output; format; colours; whether there are as many pixels as there should be; the three sizes.
_HEAD = struct.Struct("<BBBBIII")


def _check(data: bytes) -> None:
    if len(data) < _HEAD.size:
        return
    choice, kind, colours, fitting, height, width, stride = _HEAD.unpack_from(data)
    content = data[_HEAD.size :]
    if fitting % 2 and content:
        needed = min(max(1, stride) * height * (3 if fitting % 4 == 1 else 2) // 2, 2**16)
        content = (content * (needed // len(content) + 1))[:needed]
    raw = RawPixels(
        data=memoryview(content) if choice % 2 else content,
        pixel_format=_FORMATS[kind % len(_FORMATS)],
        height=height,
        width=width,
        row_stride=stride,
        color_matrix=_MATRICES[colours % 2],
        color_range=_RANGES[colours // 2 % 2],
    )
    decode(raw, choice)


def _seeds() -> Iterator[bytes]:
    for kind, format_ in enumerate(_FORMATS):
        planar = format_ in (PixelFormat.NV12, PixelFormat.I420)
        pixel = 12 if format_ is PixelFormat.RGB_FLOAT32 else 4 if format_ is PixelFormat.RGBA8 else 3
        for height, width in ((8, 8), (2, 34)):
            stride = width + 2 if planar else width * pixel
            yield _HEAD.pack(kind, kind, kind, 1 if planar else 3, height, width, stride) + struct.pack("<ff", 0.5, 1.0)


TARGET = Target(
    name="pixels",
    what="raw pixels of every format, any height, width and stride: imaging/raw.py, yuv.py, digest.py",
    open=lambda: contextlib.nullcontext(_check),
    seeds=_seeds,
    largest=1024,
)
