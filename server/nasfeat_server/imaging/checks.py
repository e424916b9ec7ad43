"""The limits on size, and how sizes are told to people."""

from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.types import ImageLimits


def check_bytes(size: int, limits: ImageLimits) -> None:
    """Refuse an image of no bytes or of too many.

    Raises:
        InvalidImageError: tells both numbers.
    """
    if size == 0:
        raise InvalidImageError("image is empty: 0 bytes")
    if size > limits.max_bytes:
        told, allowed = _units(size, limits.max_bytes, "MB", "bytes")
        raise InvalidImageError(f"image is {told}, the limit is {allowed}")


def check_pixels(*, width: int, height: int, limits: ImageLimits) -> None:
    """Refuse an image without pixels or with too many, before anything is allocated for them.

    Raises:
        InvalidImageError: tells the dimensions and the limit.
    """
    if width < 1 or height < 1:
        raise InvalidImageError(f"image is {width}x{height}; both must be 1 or more")
    pixels = width * height
    if pixels > limits.max_pixels:
        told, allowed = _units(pixels, limits.max_pixels, "megapixels", "pixels")
        raise InvalidImageError(f"image is {width}x{height} = {told}, the limit is {allowed.split()[0]}")


def _units(value: int, limit: int, millions: str, ones: str) -> tuple[str, str]:
    """Round to a tenth of a million, unless that would show the value and its limit as the same number."""
    told, allowed = f"{value / 1e6:.1f}".removesuffix(".0"), f"{limit / 1e6:.1f}".removesuffix(".0")
    if allowed in {told, "0"}:
        return f"{value} {ones}", f"{limit} {ones}"
    return f"{told} {millions}", f"{allowed} {millions}"
