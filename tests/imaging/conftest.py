"""Pictures and shortcuts for the tests of imaging."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.types import ImageLimits, RawPixels

Pixels = npt.NDArray[np.uint8]
Decode = Callable[..., Pixels]
Save = Callable[..., bytes]


@pytest.fixture(scope="session")
def photo() -> Pixels:
    """A photograph, uint8 RGB [300, 451, 3]."""
    from skimage import data

    pixels: Pixels = data.chelsea()
    return pixels


@pytest.fixture(scope="session")
def decode() -> Decode:
    """`decode(source, shape=(331, 331), **limits)` gives the RGB that `decode_into` writes."""

    def run(
        source: bytes | RawPixels,
        shape: tuple[int, int] = (331, 331),
        max_bytes: int = 64_000_000,
        max_pixels: int = 50_000_000,
        framing: str = "stretch",
    ) -> Pixels:
        out = np.full((*shape, 3), 77, np.uint8)
        decode_into(source, out, ImageLimits(max_bytes=max_bytes, max_pixels=max_pixels), Framing.parse(framing))
        return out

    return run


@pytest.fixture(scope="session")
def save() -> Save:
    """`save(image_or_array, "PNG", **options)` gives the file that Pillow writes."""

    def run(image: Image.Image | npt.NDArray[np.generic], kind: str, **options: object) -> bytes:
        file = io.BytesIO()
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(file, kind, **options)
        return file.getvalue()

    return run


@pytest.fixture(scope="session")
def difference() -> Callable[[npt.ArrayLike, npt.ArrayLike], npt.NDArray[np.int64]]:
    """`difference(a, b)` gives how far two pictures are from each other, value by value."""

    def run(one: npt.ArrayLike, other: npt.ArrayLike) -> npt.NDArray[np.int64]:
        return np.abs(np.asarray(one, np.int64) - np.asarray(other, np.int64))

    return run
