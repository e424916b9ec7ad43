"""What pictures of every kind become on the wire."""

import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange as ColorRangeOfAv
from av.video.reformatter import Colorspace
from PIL import Image as Pillow

from nasfeat.v1 import image_pb2
from nasfeat_client import ColorMatrix, ColorRange, Image, InvalidImageError, PixelFormat, Pixels
from nasfeat_client._images import write_image

HEIGHT, WIDTH = 4, 6
RGB = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
GRAY = RGB[..., 0]
RGBA = np.dstack([RGB, GRAY])
PLANES = np.arange(HEIGHT * 3 // 2 * WIDTH, dtype=np.uint8).reshape(HEIGHT * 3 // 2, WIDTH)
FLOAT = RGB.astype(np.float32) / 255


def packed(image: Image) -> image_pb2.Image:
    """Write `image` into a message."""
    message = image_pb2.Image()
    write_image(message, image, 2**20)
    return message


@pytest.mark.parametrize(
    ("image", "pixel_format", "data"),
    [
        (RGB, PixelFormat.RGB8, RGB),
        (GRAY, PixelFormat.GRAY8, GRAY),
        (RGBA, PixelFormat.RGBA8, RGBA),
        (RGB[:, ::-1][::-1], PixelFormat.RGB8, RGB[::-1, ::-1]),
        (Pixels(RGB, pixel_format=PixelFormat.BGR8), PixelFormat.BGR8, RGB),
        (Pixels(PLANES, pixel_format=PixelFormat.NV12), PixelFormat.NV12, PLANES),
        (Pixels(PLANES, pixel_format=PixelFormat.I420), PixelFormat.I420, PLANES),
        (Pixels(FLOAT, pixel_format=PixelFormat.RGB_FLOAT32), PixelFormat.RGB_FLOAT32, FLOAT),
        (Pillow.fromarray(RGB), PixelFormat.RGB8, RGB),
        (Pillow.fromarray(GRAY), PixelFormat.GRAY8, GRAY),
        (Pillow.fromarray(RGBA), PixelFormat.RGBA8, RGBA),
        (Pillow.fromarray(RGB).convert("P"), PixelFormat.RGB8, None),
        (Pillow.fromarray(RGB).convert("CMYK"), PixelFormat.RGB8, None),
    ],
)
def test_pixels_become_raw_images(image: Image, pixel_format: PixelFormat, data: np.ndarray[Any, Any] | None) -> None:
    """The bytes are the array's, rows without padding, with its height, width and format."""
    raw = packed(image).raw
    assert (raw.height, raw.width, raw.row_stride) == (HEIGHT, WIDTH, 0)
    assert raw.pixel_format == pixel_format.value
    assert data is None or raw.data == data.tobytes()


def test_files_and_bytes_are_sent_as_they_are(tmp_path: Path) -> None:
    """A path, as str or os.PathLike, is read; bytes are taken for a file's content."""
    path = tmp_path / "picture.png"
    path.write_bytes(b"content")
    with os.scandir(tmp_path) as entries:
        entry = next(entries)
    images: tuple[Image, ...] = (path, str(path), entry, b"content")
    assert [packed(image).encoded for image in images] == [b"content"] * 4


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (FLOAT, r"float32 \[4, 6, 3\].*wrapped in Pixels"),
        (RGB[..., :2], r"uint8 \[4, 6, 2\]"),
        (RGB[0, 0], r"uint8 \[3\]"),
        (Pixels(RGB, pixel_format=PixelFormat.RGB_FLOAT32), r"RGB_FLOAT32 must be float32 \[H, W, 3\]"),
        (Pixels(RGB, pixel_format=PixelFormat.NV12), r"NV12 must be uint8 \[H, W\]"),
        (Pixels(PLANES[1:], pixel_format=PixelFormat.I420), "array has 5 rows; I420 has 3 for every 2"),
        (bytes(2**20), "takes 1048580 bytes.*room for 1047552"),
    ],
)
def test_what_cannot_be_sent_is_explained(image: Image, message: str) -> None:
    """The error names what is wrong, with its numbers, and what is allowed."""
    with pytest.raises(InvalidImageError, match=message):
        packed(image)


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    """Its size alone decides; a sparse file shows it."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InvalidImageError, match="takes 1099511627776 bytes"):
        packed(path)


def test_a_broken_pillow_image_is_an_invalid_image(tmp_path: Path) -> None:
    """Pillow decodes late; what it finds then is the image's error."""
    path = tmp_path / "cut.png"
    Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with Pillow.open(path) as image, pytest.raises(InvalidImageError, match="cannot decode the Pillow image"):
        packed(image)


@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420])
def test_planes_say_how_their_colours_were_made(pixel_format: PixelFormat) -> None:
    """Standard definition in limited range, unless the caller knows better; other formats say nothing."""
    plain = packed(Pixels(PLANES, pixel_format=pixel_format)).raw
    assert (plain.color_matrix, plain.color_range) == (image_pb2.COLOR_MATRIX_BT601, image_pb2.COLOR_RANGE_LIMITED)
    told = Pixels(PLANES, pixel_format=pixel_format, color_matrix=ColorMatrix.BT709, color_range=ColorRange.FULL)
    message = packed(told).raw
    assert (message.color_matrix, message.color_range) == (image_pb2.COLOR_MATRIX_BT709, image_pb2.COLOR_RANGE_FULL)
    assert not packed(RGB).raw.color_matrix


@pytest.mark.parametrize(
    ("name", "pixel_format"),
    [
        ("rgb24", PixelFormat.RGB8),
        ("bgr24", PixelFormat.BGR8),
        ("gray", PixelFormat.GRAY8),
        ("rgba", PixelFormat.RGBA8),
        ("nv12", PixelFormat.NV12),
        ("yuv420p", PixelFormat.I420),
        ("yuvj420p", PixelFormat.I420),
        ("yuv444p", PixelFormat.RGB8),
    ],
)
def test_frames_of_video_are_sent_as_they_are(name: str, pixel_format: PixelFormat) -> None:
    """Those of a format that the wire has; the others as RGB."""
    frame = av.VideoFrame.from_ndarray(RGB, format="rgb24").reformat(format=name)
    raw = packed(frame).raw
    expected = frame.to_ndarray() if name != "yuv444p" else frame.to_ndarray(format="rgb24")
    assert (raw.height, raw.width, raw.row_stride) == (HEIGHT, WIDTH, 0)
    assert raw.pixel_format == pixel_format.value
    assert raw.data == expected.tobytes()


def test_frames_of_video_say_how_their_colours_were_made() -> None:
    """As FFmpeg has noted it; without a word they are of standard definition in limited range."""
    frame = av.VideoFrame.from_ndarray(RGB, format="rgb24").reformat(format="yuv420p")
    assert packed(frame).raw.color_matrix == image_pb2.COLOR_MATRIX_BT601
    assert packed(frame).raw.color_range == image_pb2.COLOR_RANGE_LIMITED
    frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRangeOfAv.JPEG
    assert packed(frame).raw.color_matrix == image_pb2.COLOR_MATRIX_BT709
    assert packed(frame).raw.color_range == image_pb2.COLOR_RANGE_FULL
    odd = av.VideoFrame.from_ndarray(RGB[:3, :5].copy(), format="rgb24").reformat(format="yuv420p")
    assert packed(odd).raw.pixel_format == image_pb2.PIXEL_FORMAT_RGB8
