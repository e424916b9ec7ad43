"""The plain values of imaging: how pixels are laid out, pixels without a container, and what is too large."""

from dataclasses import dataclass
from enum import StrEnum


class PixelFormat(StrEnum):
    """The layout of `RawPixels.data`; `nasfeat/v1/image.proto` documents each for clients."""

    RGB8 = "RGB8"
    BGR8 = "BGR8"
    GRAY8 = "GRAY8"
    RGBA8 = "RGBA8"
    NV12 = "NV12"
    I420 = "I420"
    RGB_FLOAT32 = "RGB_FLOAT32"


class ColorMatrix(StrEnum):
    """Which weights made Y, Cb and Cr of red, green and blue: ITU-R BT.601 of standard, BT.709 of high definition."""

    BT601 = "BT.601"
    BT709 = "BT.709"


class ColorRange(StrEnum):
    """Whether black and white are 16 and 235, as in broadcasts, or 0 and 255, as in JPEGs."""

    LIMITED = "limited"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPixels:
    """Pixels as cameras and video decoders deliver them; nothing here has been checked yet.

    Attributes:
        data: the bytes, rows from top to bottom.
        pixel_format: how the bytes are laid out.
        height: rows.
        width: columns.
        row_stride: bytes from the start of one row to the start of the next; 0 means rows without padding.
        color_matrix: of NV12 and I420.
        color_range: likewise.
    """

    data: bytes | memoryview
    pixel_format: PixelFormat
    height: int
    width: int
    row_stride: int = 0
    color_matrix: ColorMatrix = ColorMatrix.BT601
    color_range: ColorRange = ColorRange.LIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """What is too large to decode.

    Attributes:
        max_bytes: bytes of one image, encoded or raw.
        max_pixels: height x width of one image. Pillow refuses GIFs and WebPs over 178 megapixels whatever stands here.
    """

    max_bytes: int
    max_pixels: int
