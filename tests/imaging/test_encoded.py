"""Files that must become the right picture."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from PIL import Image

Pixels = npt.NDArray[np.uint8]
ORIENTATION = 0x0112
# How a camera that was held in each of the EXIF ways has stored an upright picture.
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: np.transpose(upright, (1, 0, 2)),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(np.transpose(upright, (1, 0, 2)), 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_files_of_the_right_size_are_given_bit_for_bit(
    kind: str, photo: Pixels, decode: Any, save: Any
) -> None:
    """A picture that needs no resize is not touched."""
    data = save(photo, kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(decode(data, photo.shape[:2]), photo)


@pytest.mark.parametrize("framing", ["stretch", "letterbox", "center_crop:1"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_of_the_right_size_is_given_as_it_was_decoded(
    framing: str, mode: str, photo: Pixels, decode: Any, save: Any
) -> None:
    """A picture that needs no resize is written as libjpeg-turbo gives it, gray three times."""
    data = save(Image.fromarray(photo[:300, :300]).convert(mode), "JPEG", quality=90)
    expected = np.broadcast_to(simplejpeg.decode_jpeg(data, "GRAY" if mode == "L" else "RGB"), (300, 300, 3))
    np.testing.assert_array_equal(decode(data, (300, 300), framing=framing), expected)


@pytest.mark.parametrize("shape", [(331, 331), (100, 640), (300, 100), (1, 1)])
def test_the_resize_is_pillows_antialiased_bilinear(
    shape: tuple[int, int], photo: Pixels, decode: Any, save: Any
) -> None:
    """A picture is stretched as `Image.resize(..., BILINEAR)` stretches it."""
    expected = Image.fromarray(photo).resize(shape[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(decode(save(photo, "PNG"), shape), np.asarray(expected))


def test_the_resize_counts_every_source_pixel(decode: Any, save: Any) -> None:
    """A checkerboard of single pixels shrinks to gray, and not to whichever pixels a sampler hits."""
    board = np.kron(np.indices((400, 400)).sum(axis=0) % 2, np.ones((1, 1))).astype(np.uint8) * 255
    small = decode(save(board, "PNG"), (50, 50))
    assert small.min() >= 126
    assert small.max() <= 129


def test_the_resize_agrees_with_area_averages(photo: Pixels, decode: Any, save: Any, difference: Any) -> None:
    """Shrinking by four stays near the mean of each 4x4 block, which owes Pillow nothing."""
    square = photo[:300, :300]
    blocks = square.reshape(75, 4, 75, 4, 3).mean(axis=(1, 3))
    assert difference(decode(save(square, "PNG"), (75, 75)), blocks.round()).mean() < 3


@pytest.mark.parametrize("size", [(4000, 3000), (3001, 2003)])
def test_a_large_jpeg_shrunk_while_decoding_is_the_same_picture(
    size: tuple[int, int], photo: Pixels, decode: Any, save: Any, difference: Any
) -> None:
    """The shortcut for large JPEGs stays within a few steps of decoding them whole, at every edge too."""
    large = Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
    whole = large.resize((331, 331), Image.Resampling.BILINEAR)
    off = difference(decode(save(large, "JPEG", quality=95)), whole)
    assert off.mean() < 0.6
    assert off.max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_comes_out_upright(
    kind: str, orientation: int, photo: Pixels, decode: Any, save: Any, difference: Any
) -> None:
    """However the camera was held, the result is the picture as it was seen."""
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](photo)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 97} if kind == "JPEG" else {}
    upright = decode(save(stored, kind, exif=exif, **options), (150, 200))
    expected = np.asarray(Image.fromarray(photo).resize((200, 150), Image.Resampling.BILINEAR))
    assert difference(upright, expected).max() <= (8 if kind == "JPEG" else 1)


def test_unreadable_exif_is_ignored(photo: Pixels, decode: Any, save: Any) -> None:
    """A good picture with rubbish for EXIF is shown as it lies."""
    data = save(photo, "PNG", exif=b"Exif\0\0this is no TIFF header at all")
    np.testing.assert_array_equal(decode(data, photo.shape[:2]), photo)


def test_cmyk_becomes_rgb(photo: Pixels, decode: Any, save: Any, difference: Any) -> None:
    """A JPEG for the printer has the colours that it was made from."""
    data = save(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=97)
    assert difference(decode(data, photo.shape[:2]), photo).mean() < 2


def test_sixteen_bit_gray_is_scaled_and_not_clipped(decode: Any, save: Any) -> None:
    """A ramp over 16 bits is a ramp over 8 bits, in three equal channels."""
    ramp = np.arange(256, dtype=np.uint16) * 257
    data = save(np.tile(ramp, (4, 1)), "PNG")
    expected = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (4, 256, 3))
    np.testing.assert_array_equal(decode(data, (4, 256)), expected)


def test_sixteen_bit_tiffs_of_either_byte_order_are_scaled(decode: Any, save: Any) -> None:
    """The high byte is taken, wherever it lies."""
    for mode in ("I;16", "I;16B"):
        image = Image.frombytes(mode, (2, 1), bytes([0, 200, 0, 50]) if mode == "I;16" else bytes([200, 0, 50, 0]))
        assert decode(save(image, "TIFF"), (1, 2)).tolist() == [[[200] * 3, [50] * 3]]


def test_alpha_is_dropped_and_not_blended(photo: Pixels, decode: Any, save: Any) -> None:
    """Colours under transparency are the colours given, in true colour, gray and palette."""
    clear = np.zeros((*photo.shape[:2], 1), np.uint8)
    data = save(np.concatenate([photo, clear], axis=2), "PNG")
    np.testing.assert_array_equal(decode(data, photo.shape[:2]), photo)
    gray = Image.fromarray(photo).convert("L")
    with_alpha = Image.merge("LA", (gray, Image.new("L", gray.size, 3)))
    np.testing.assert_array_equal(decode(save(with_alpha, "PNG"), photo.shape[:2])[:, :, 1], np.asarray(gray))
    palette = Image.fromarray(photo).quantize(16)
    data = save(palette, "PNG", transparency=bytes(range(16)))
    np.testing.assert_array_equal(decode(data, photo.shape[:2]), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_pictures_of_few_colours_become_rgb(mode: str, photo: Pixels, decode: Any, save: Any) -> None:
    """Bilevel, gray and palette pictures look as Pillow shows them."""
    image = Image.fromarray(photo).convert(mode)
    np.testing.assert_array_equal(decode(save(image, "PNG"), photo.shape[:2]), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind: str, decode: Any, save: Any) -> None:
    """A red frame before a blue one gives red."""
    red, blue = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = save(red, kind, save_all=True, append_images=[blue], duration=100, **options)
    assert np.unique(decode(data, (30, 40)).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_one_pixel_fills_the_output(decode: Any, save: Any) -> None:
    """A 1x1 picture is a valid picture."""
    assert np.unique(decode(save(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).reshape(-1, 3), axis=0).tolist() == [
        [1, 2, 3]
    ]


def test_many_threads_decode_at_once(photo: Pixels, decode: Any, save: Any) -> None:
    """Forty pictures on eight threads come out as they do alone."""
    files = [save(np.roll(photo, 7 * index, axis=1), "JPEG") for index in range(40)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(decode, files))
    for data, pixels in zip(files, together, strict=True):
        np.testing.assert_array_equal(pixels, decode(data))
