"""Row 17: images that are broken, huge, hostile or merely unusual, over the wire."""

import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from nasfeat_server.app import App
from pictures import black, png
from serving import connected, pixels, running

_RED = (200, 30, 40)


def _file(image: Image.Image, kind: str, **options: Any) -> image_pb2.Image:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return image_pb2.Image(encoded=written.getvalue())


def _halves(mode: str = "RGB") -> Image.Image:
    """A picture of 64 x 64 whose upper half is red and whose lower half is black."""
    image = Image.new("RGB", (64, 64))
    image.paste(_RED, (0, 0, 64, 32))
    return image.convert(mode)


def _truncated() -> image_pb2.Image:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = _file(noise, "JPEG").encoded
    return image_pb2.Image(encoded=whole[: len(whole) // 2])


def _turned() -> image_pb2.Image:
    exif = Image.Exif()
    exif[0x0112] = 3
    return _file(_halves().rotate(180), "JPEG", exif=exif, quality=95)


def _sixteen_bit() -> image_pb2.Image:
    return _file(Image.fromarray(np.full((64, 64), 200 * 257, np.uint16)), "PNG")


def _animated() -> image_pb2.Image:
    return _file(_halves(), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64))], lossless=True)


def _raw(**fields: Any) -> image_pb2.Image:
    raw = image_pb2.RawImage(pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=4, width=4, data=bytes(48))
    raw.MergeFrom(image_pb2.RawImage(**fields))
    return image_pb2.Image(raw=raw)


def _floats(value: float) -> image_pb2.Image:
    data = np.full((4, 4, 3), value, "<f4").tobytes()
    return _raw(data=data, pixel_format=image_pb2.PIXEL_FORMAT_RGB_FLOAT32)


_BAD: dict[str, tuple[Callable[[], image_pb2.Image], str]] = {
    "truncated JPEG": (_truncated, "truncated"),
    "0 bytes": (lambda: image_pb2.Image(encoded=b""), "image is empty: 0 bytes"),
    "text": (lambda: image_pb2.Image(encoded=b"hello, this is text"), "not an image: none of JPEG, PNG"),
    "50,000 x 50,000 PNG": (
        lambda: image_pb2.Image(encoded=png(50_000, 50_000)),
        "image is 50000x50000 = 2500 megapixels, the limit is 50",
    ),
    "decompression bomb": (
        lambda: image_pb2.Image(encoded=png(20_000, 20_000, black(20_000, 20_000))),
        "image is 20000x20000 = 400 megapixels, the limit is 50",
    ),
    "wrong stride": (lambda: _raw(row_stride=5), "row stride"),
    "too few pixels": (lambda: _raw(height=5), "48 bytes"),
    "NaN floats": (lambda: _floats(float("nan")), "finite"),
    "floats over 1": (lambda: _floats(1.5), "1.5"),
}
_UNUSUAL: dict[str, Callable[[], image_pb2.Image]] = {
    "CMYK": lambda: _file(_halves("CMYK"), "JPEG", quality=95),
    "EXIF-rotated": _turned,
    "animated": _animated,
    "palette": lambda: _file(_halves("P"), "PNG"),
}


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a server with one free replica, whose features are bytes of the picture."""
    async with running() as app:
        yield app


async def _result(app: App, image: image_pb2.Image) -> feature_service_pb2.FrameResult:
    """Send `image` between two good ones, which must have features; give its own result."""
    async with connected(app) as stub:
        images = [pixels(1), image, pixels(2)]
        response = await stub.ExtractFeatures(feature_service_pb2.ExtractFeaturesRequest(images=images))
        first, result, last = response.results
        assert first.HasField("features")
        assert last.HasField("features")
        return result


@pytest.mark.parametrize("name", _BAD)
async def test_a_bad_image_has_a_precise_error_alone(app: App, name: str) -> None:
    """Row 17: the image says what is wrong with it and what is allowed; its neighbours have features."""
    make, message = _BAD[name]
    result = await _result(app, make())
    assert result.error.reason == feature_pb2.ERROR_REASON_INVALID_IMAGE
    assert message in result.error.message


@pytest.mark.parametrize("name", _UNUSUAL)
async def test_an_unusual_image_is_the_right_picture(app: App, name: str) -> None:
    """Row 17: read, turned upright and in its colours: red above, black below."""
    result = await _result(app, _UNUSUAL[name]())
    values = np.frombuffer(result.features.features[0].values, np.float32) * 255
    # The fake engine gives every fourth byte of the picture: the colours take turns.
    upper, lower = values[:300].reshape(-1, 3), values[-300:].reshape(-1, 3)
    assert np.abs(np.sort(upper.mean(axis=0)) - sorted(_RED)).max() < 12
    assert lower.max() < 12


async def test_a_16_bit_image_is_scaled_and_not_clipped(app: App) -> None:
    """Row 17: a gray of 200/255 in sixteen bits is a gray of 200 in eight."""
    result = await _result(app, _sixteen_bit())
    values = np.frombuffer(result.features.features[0].values, np.float32) * 255
    np.testing.assert_allclose(values, 200, atol=1)


async def test_one_pixel_is_a_picture(app: App) -> None:
    """Row 17: 1 x 1 fills the network's input with its colour."""
    result = await _result(app, _file(Image.new("RGB", (1, 1), (50, 50, 50)), "PNG"))
    values = np.frombuffer(result.features.features[0].values, np.float32) * 255
    np.testing.assert_allclose(values, 50, atol=0.01)
