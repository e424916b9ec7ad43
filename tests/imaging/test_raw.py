"""Pixels without a container."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.types import PixelFormat, RawPixels

Pixels = npt.NDArray[np.uint8]
PACKED = [PixelFormat.RGB8, PixelFormat.BGR8, PixelFormat.GRAY8, PixelFormat.RGBA8, PixelFormat.RGB_FLOAT32]


def packed(rgb: Pixels, pixel_format: PixelFormat, padding: int = 0) -> RawPixels:
    """Lay out `rgb` as `pixel_format`, each row followed by `padding` bytes of 255."""
    height, width = rgb.shape[:2]
    alpha = np.full((height, width, 1), 9, np.uint8)
    arrays: dict[PixelFormat, npt.NDArray[np.generic]] = {
        PixelFormat.RGB8: rgb,
        PixelFormat.BGR8: rgb[:, :, ::-1],
        PixelFormat.GRAY8: rgb[:, :, 1],
        PixelFormat.RGBA8: np.concatenate([rgb, alpha], axis=2),
        PixelFormat.RGB_FLOAT32: (rgb / 255).astype("<f4"),
    }
    rows = np.frombuffer(arrays[pixel_format].tobytes(), np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    stride = rows.shape[1] if padding else 0
    return RawPixels(data=rows.tobytes(), pixel_format=pixel_format, height=height, width=width, row_stride=stride)


@pytest.mark.parametrize("padding", [0, 12, 13])
@pytest.mark.parametrize("pixel_format", PACKED)
@pytest.mark.parametrize("shape", [(300, 451), (120, 200)])
def test_packed_pixels_become_the_picture(
    shape: tuple[int, int], pixel_format: PixelFormat, padding: int, photo: Pixels, decode: Any
) -> None:
    """In every layout, with or without padding, of the output's size or not, the picture is that of a PNG."""
    rgb = photo if pixel_format is not PixelFormat.GRAY8 else photo[:, :, [1, 1, 1]]
    expected = Image.fromarray(rgb).resize(shape[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(decode(packed(photo, pixel_format, padding), shape), np.asarray(expected))


def test_a_memoryview_of_another_type_is_taken(photo: Pixels, decode: Any) -> None:
    """The buffer of an array serves as it is, uncopied."""
    height, width = photo.shape[:2]
    view = np.ascontiguousarray(photo).data
    raw = RawPixels(data=view, pixel_format=PixelFormat.RGB8, height=height, width=width)
    np.testing.assert_array_equal(decode(raw, photo.shape[:2]), photo)


@pytest.mark.parametrize(
    ("pixel_format", "size", "height", "width", "stride", "message"),
    [
        ("RGB8", 100, 4, 10, 29, "row stride is 29 bytes, but a row of 10 RGB8 pixels is 30 bytes"),
        ("RGB8", 119, 4, 10, 0, "data is 119 bytes, but 10x4 RGB8 with rows of 30 bytes is exactly 120 bytes"),
        ("RGB8", 126, 4, 10, 32, "data is 126 bytes, but 10x4 RGB8 with rows of 32 bytes is exactly 128 bytes"),
        ("GRAY8", 41, 4, 10, 0, "data is 41 bytes, but 10x4 GRAY8 with rows of 10 bytes is exactly 40 bytes"),
        ("RGBA8", 120, 4, 10, 0, "data is 120 bytes, but 10x4 RGBA8 with rows of 40 bytes is exactly 160 bytes"),
        ("NV12", 60, 4, 10, 0, None),
        ("NV12", 61, 4, 10, 0, "data is 61 bytes, but 10x4 NV12 with rows of 10 bytes is exactly 60 bytes"),
        ("NV12", 50, 3, 10, 0, "NV12 image is 10x3; both must be even"),
        ("I420", 50, 4, 9, 0, "I420 image is 9x4; both must be even"),
        ("I420", 66, 4, 10, 11, "row stride of a I420 image is 11 bytes; it must be even"),
        ("RGB_FLOAT32", 120, 4, 10, 0, "rows of 120 bytes is exactly 480 bytes"),
        ("RGB8", 1, 0, 10, 0, "image is 10x0; both must be 1 or more"),
        ("RGB8", 1, 50_000, 50_000, 0, "image is 50000x50000 = 2500 megapixels, the limit is 50"),
        ("RGB8", 0, 4, 10, 0, "image is empty: 0 bytes"),
    ],
)
def test_sizes_are_checked_exactly(
    pixel_format: str, size: int, height: int, width: int, stride: int, message: str | None, decode: Any
) -> None:
    """A wrong length, stride or dimension is named with the right one; a right one passes."""
    raw = RawPixels(
        data=bytes(size), pixel_format=PixelFormat(pixel_format), height=height, width=width, row_stride=stride
    )
    if message is None:
        decode(raw)
        return
    with pytest.raises(InvalidImageError) as caught:
        decode(raw)
    assert message in str(caught.value)


def test_raw_pixels_are_held_to_the_byte_limit(decode: Any) -> None:
    """The limit on bytes counts for raw pixels too."""
    raw = RawPixels(data=bytes(3_000_000), pixel_format=PixelFormat.RGB8, height=1000, width=1000)
    with pytest.raises(InvalidImageError, match=r"image is 3 MB, the limit is 2 MB"):
        decode(raw, max_bytes=2_000_000)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "1 of 24 RGB_FLOAT32 values are NaN or infinite"),
        (np.inf, "1 of 24 RGB_FLOAT32 values are NaN or infinite"),
        (255.0, r"RGB_FLOAT32 values go from 0 to 255; they must be in \[0, 1\]"),
        (-0.5, r"RGB_FLOAT32 values go from -0.5 to 0; they must be in \[0, 1\]"),
    ],
)
def test_floats_must_be_finite_and_in_range(value: float, message: str, decode: Any) -> None:
    """Floats that are no brightness are refused, with what they are."""
    values = np.zeros((2, 4, 3), "<f4")
    values[1, 2, 0] = value
    raw = RawPixels(data=values.tobytes(), pixel_format=PixelFormat.RGB_FLOAT32, height=2, width=4)
    with pytest.raises(InvalidImageError, match=message):
        decode(raw)
