"""Pictures on their way to the server."""

import enum
import os
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from nasfeat.v1 import image_pb2


class PixelFormat(enum.Enum):
    """How the array of a `Pixels` is laid out; H and W are the picture's height and width."""

    RGB8 = image_pb2.PIXEL_FORMAT_RGB8
    """uint8 [H, W, 3]: red, green, blue."""
    BGR8 = image_pb2.PIXEL_FORMAT_BGR8
    """uint8 [H, W, 3]: blue, green, red, as OpenCV has it."""
    GRAY8 = image_pb2.PIXEL_FORMAT_GRAY8
    """uint8 [H, W]: luminance."""
    RGBA8 = image_pb2.PIXEL_FORMAT_RGBA8
    """uint8 [H, W, 4]: red, green, blue, alpha; alpha is ignored."""
    NV12 = image_pb2.PIXEL_FORMAT_NV12
    """uint8 [H * 3 / 2, W]: luma, then interleaved Cb and Cr; even H and W."""
    I420 = image_pb2.PIXEL_FORMAT_I420
    """uint8 [H * 3 / 2, W]: luma, then the planes Cb and Cr; even H and W."""
    RGB_FLOAT32 = image_pb2.PIXEL_FORMAT_RGB_FLOAT32
    """float32 [H, W, 3]: red, green, blue, each in [0, 1]."""


class ColorMatrix(enum.Enum):
    """Which weights made Y, Cb and Cr of NV12 and I420."""

    BT601 = image_pb2.COLOR_MATRIX_BT601
    """Standard definition."""
    BT709 = image_pb2.COLOR_MATRIX_BT709
    """High definition."""


class ColorRange(enum.Enum):
    """Which values black and white of NV12 and I420 have."""

    LIMITED = image_pb2.COLOR_RANGE_LIMITED
    """Luma from 16 to 235, as in broadcasts and most video."""
    FULL = image_pb2.COLOR_RANGE_FULL
    """From 0 to 255, as from many webcams."""


class PillowImage(Protocol):
    """What the SDK needs of a `PIL.Image.Image`; Pillow itself is never imported.

    The pixels are sent as Pillow has them: it does not apply a photo's EXIF orientation by itself, the server does so
    for whole files.
    """

    @property
    def mode(self) -> str:
        """The pixel layout, e.g. "RGB"."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""

    def convert(self, mode: str, /) -> "PillowImage":
        """Give the same picture in another mode."""

    def tobytes(self) -> bytes:
        """Give the rows without padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """An array whose layout its shape does not tell.

    Attributes:
        array: the pixels; shape and dtype as `pixel_format` says.
        pixel_format: how they are laid out.
        color_matrix: how the colours of NV12 and I420 were made.
        color_range: which values black and white of them have.
    """

    array: npt.NDArray[Any]
    _: KW_ONLY
    pixel_format: PixelFormat
    color_matrix: ColorMatrix = ColorMatrix.BT601
    color_range: ColorRange = ColorRange.LIMITED


class VideoFrame(Protocol):
    """What the SDK needs of an `av.VideoFrame`; PyAV itself is never imported.

    Frames of 4:2:0 video are sent as they are, half the size of RGB; others are converted to RGB by PyAV.
    """

    @property
    def format(self) -> Any:
        """The pixel format; its `name` is FFmpeg's."""

    @property
    def width(self) -> int:
        """Pixels in a row."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def colorspace(self) -> Any:
        """FFmpeg's number for how the colours were made."""

    @property
    def color_range(self) -> Any:
        """FFmpeg's number for which values black and white have."""

    # PyAV calls it so, with more parameters.
    def to_ndarray(self, *, format: str | None = None) -> npt.NDArray[Any]:  # noqa: A002
        """Give the pixels."""


Image: TypeAlias = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8] | Pixels | PillowImage | VideoFrame
"""A picture as a caller has it.

- `str` or `os.PathLike`: the path of an image file, read by the SDK;
- `bytes`: a whole image file: JPEG, PNG, WebP, GIF, BMP or TIFF;
- a uint8 array: RGB if [H, W, 3], gray if [H, W], RGBA if [H, W, 4];
- `Pixels`: an array of any other layout;
- a Pillow image;
- a frame of PyAV's.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image of a stream, with what the caller wants to find again in its result.

    Attributes:
        image: the picture.
        frame_id: must be greater than the one before on the same stream; None counts on from it, from 0.
        capture_time: when the picture was taken, with a time zone; kept to the microsecond.
    """

    image: Image
    _: KW_ONLY
    frame_id: int | None = None
    capture_time: datetime | None = None

    def __post_init__(self) -> None:
        if self.capture_time and self.capture_time.tzinfo is None:
            raise ValueError("capture_time has no time zone")
