"""Image files, by Pillow: only six formats, sizes checked from headers, damage reported and never guessed around.

Pillow's `Image.open` is not used: it warns and fails at a limit that is global to the process. The plugins of the
formats allowed are called by name instead, and `ImageLimits` decides.
"""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.checks import check_bytes, check_pixels
from nasfeat_server.imaging.framing import Box, Framing
from nasfeat_server.imaging.jpeg import decode_jpeg
from nasfeat_server.imaging.resize import write_resized
from nasfeat_server.imaging.types import ImageLimits

FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF")

_PLUGINS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
# For each EXIF orientation but 1, upright: how the upright output is seen by a picture that lies as it was stored.
_AS_STORED: dict[int, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: np.rot90,
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
_SIXTEEN_BITS = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_UNSCALED = frozenset({"I", "F"})
_LEAST_SHRINK = 1.5


def write_encoded(data: bytes, out: npt.NDArray[np.uint8], limits: ImageLimits, framing: Framing) -> None:
    """Decode an image file, turn it upright, bring it to the shape of `out` and write it there.

    Args:
        data: the whole file.
        out: uint8 [height, width, 3].
        limits: what is too large.
        framing: which part of the picture is taken, and where it goes.

    Raises:
        InvalidImageError: says whether it is too large, no image, truncated or damaged.
    """
    check_bytes(len(data), limits)
    name = _format_of(data)
    if name == "WebP":
        _check_webp(data, limits)
    try:
        image = _PLUGINS[name](io.BytesIO(data))
    except Exception as error:  # Pillow's parsers raise errors of many kinds
        problem = f"{name} header cannot be read: the {len(data)} bytes are truncated or damaged ({error})"
        raise InvalidImageError(problem) from error
    check_pixels(width=image.width, height=image.height, limits=limits)
    if name == "JPEG" and _write_jpeg(image, data, out, framing):
        return
    try:
        image.load()
        plain = _plain(image, name)
    except InvalidImageError:
        raise
    except Exception as error:  # as above
        raise InvalidImageError(_damage(name, data, error)) from error
    # Only now: when it loads a TIFF, Pillow turns it upright itself.
    write_resized(plain, _stored(image, out), framing)


def _format_of(data: bytes) -> str:
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    raise InvalidImageError(f"not an image: none of {', '.join(FORMATS)}")


def _check_webp(data: bytes, limits: ImageLimits) -> None:
    """Check sizes that libwebp would allocate for before Pillow tells them."""
    announced = int.from_bytes(data[4:8], "little") + 8
    if announced > len(data):
        raise InvalidImageError(f"WebP is truncated: its header announces {announced} bytes, there are {len(data)}")
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    check_pixels(width=width, height=height, limits=limits)


def _write_jpeg(image: ImageFile.ImageFile, data: bytes, out: npt.NDArray[np.uint8], framing: Framing) -> bool:
    """Write a JPEG whose header has been read; False if there is anything unusual about it, for Pillow to judge."""
    stored = _stored(image, out)
    decoded = decode_jpeg(data, mode=image.mode, size=image.size, least=_enough(image, stored.shape, framing))
    if decoded:
        pixels, box = decoded
        if _is_whole(pixels, box, stored, framing):
            # Two copies by way of Pillow, which would change nothing, cost more than half of what decoding does.
            stored[...] = pixels
        else:
            write_resized(Image.fromarray(pixels), stored, framing, box)
    return decoded is not None


def _is_whole(pixels: npt.NDArray[np.uint8], box: Box, out: npt.NDArray[np.uint8], framing: Framing) -> bool:
    """Tell whether `pixels` are just what is to be written."""
    height, width = pixels.shape[:2]
    return pixels.shape == out.shape == framing.place(out, width, height).shape and box == (
        0.0,
        0.0,
        width,
        height,
    ) == framing.part(box)


def _stored(image: ImageFile.ImageFile, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """See `out` as the picture lies in its file."""
    as_stored = _AS_STORED.get(_orientation(image))
    return as_stored(out) if as_stored else out


def _enough(image: ImageFile.ImageFile, shape: tuple[int, ...], framing: Framing) -> tuple[float, float]:
    """Give the columns and rows that the whole picture needs, for what is taken of it to be shrunk a good deal further.

    What is shrunk while it is decoded is not antialiased as the last resize is: that shall do the most of it.
    """
    rows, columns = framing.size(shape, image.width, image.height)
    return _LEAST_SHRINK * columns / framing.fraction, _LEAST_SHRINK * rows / framing.fraction


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - a picture with unreadable EXIF is shown as it lies
        return 1


def _plain(image: Image.Image, name: str) -> Image.Image:
    """Give `image` as 8-bit "L" or "RGB", its alpha channel dropped."""
    # Pillow would warn that a palette's transparency is lost; losing it is the intention.
    image.info.pop("transparency", None)
    if image.mode in _SIXTEEN_BITS:
        # The high byte, as Pillow itself takes it of 16-bit colours.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _UNSCALED:
        raise InvalidImageError(f"{name} has 32-bit or float pixels, which have no agreed white; use 8 or 16 bits")
    if image.mode in {"L", "RGB"}:
        return image
    return image.convert("L" if image.mode in {"1", "LA"} else "RGB")


def _damage(name: str, data: bytes, error: Exception) -> str:
    if "truncated" in str(error).lower():
        return f"{name} is truncated: the {len(data)} bytes end before its pixels do"
    return f"{name} is truncated or damaged: {error}"
