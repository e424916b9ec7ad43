"""Images of every kind that the wire takes, some that it refuses, and some that the engine fails on."""

import io
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tests.soak.ledger import Expected

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.engine.engines.fake import FAILING_PIXEL

_MARKED_VALUES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What the frames of one client are made of.

    Attributes:
        size: rows and columns of the network's input.
        step: bytes of the input from one value of its fingerprint, the feature vector, to the next.
        pixels: inputs that are copied as they are, uint8, size x size x 3 bytes each.
        sound: other images that can be decoded.
        broken: images that cannot.
    """

    size: int
    step: int
    pixels: Sequence[bytes]
    sound: Sequence[image_pb2.Image]
    broken: Sequence[image_pb2.Image]

    def draw(self, draw: random.Random, *, marked: bool) -> tuple[image_pb2.Image, Expected]:
        """Give an image and what may come of it; `marked`: the first output asked for is the feature vector."""
        kind = draw.random()
        if kind < 0.05:
            return draw.choice(self.broken), Expected(sound=False)
        if kind < 0.06:
            return self._raw(bytes(FAILING_PIXEL) + draw.choice(self.pixels)[3:]), Expected(failing=True)
        if kind < 0.4:
            return draw.choice(self.sound), Expected()
        if kind < 0.45:
            # The same every time: computed once for all who wait.
            return self._raw(self.pixels[0]), Expected()
        mark = bytes(draw.randrange(256) for _ in range(_MARKED_VALUES))
        image = bytearray(draw.choice(self.pixels))
        for number, value in enumerate(mark):
            image[number * self.step] = value
        features = np.divide(np.frombuffer(mark, np.uint8), 255, dtype=np.float32).tobytes()
        return self._raw(bytes(image)), Expected(mark=features if marked else None)

    def _raw(self, data: bytes) -> image_pb2.Image:
        return _raw(data, image_pb2.PIXEL_FORMAT_RGB8, self.size, self.size)


def make_pictures(model: feature_service_pb2.Model, draw: random.Random) -> Pictures:
    """Make the images of a client."""
    size = model.image_height
    nbytes = 3 * size * size
    pixels = []
    for _ in range(8):
        image = bytearray(draw.randbytes(nbytes))
        # Far from the pixels that make the fake engine misbehave.
        image[1] = 7
        pixels.append(bytes(image))
    files = _files(draw)
    sound = [*(image_pb2.Image(encoded=data) for data in files.values()), *_other_formats(draw)]
    return Pictures(
        size=size,
        step=nbytes // model.feature_length,
        pixels=pixels,
        sound=sound,
        broken=_broken(files["JPEG"], draw),
    )


def _files(draw: random.Random) -> Mapping[str, bytes]:
    files = {}
    for number, kind in enumerate(("JPEG", "PNG", "WEBP", "BMP")):
        height, width = 60 + 70 * number, 400 - 90 * number
        pixels = np.frombuffer(draw.randbytes(height * width * 3), np.uint8).reshape(height, width, 3)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        files[kind] = file.getvalue()
    return files


def _other_formats(draw: random.Random) -> list[image_pb2.Image]:
    floats = np.random.default_rng(draw.randrange(2**32)).random(40 * 30 * 3, np.float32)
    return [
        _raw(draw.randbytes(50 * 70), image_pb2.PIXEL_FORMAT_GRAY8, 50, 70),
        _raw(draw.randbytes(64 * 48 * 4), image_pb2.PIXEL_FORMAT_RGBA8, 64, 48),
        _raw(draw.randbytes(64 * 48 * 3 // 2), image_pb2.PIXEL_FORMAT_NV12, 64, 48),
        _raw(draw.randbytes(480 * 640 * 3 // 2), image_pb2.PIXEL_FORMAT_I420, 480, 640),
        _raw(draw.randbytes(300 * 200 * 3), image_pb2.PIXEL_FORMAT_BGR8, 300, 200),
        _raw(floats.tobytes(), image_pb2.PIXEL_FORMAT_RGB_FLOAT32, 40, 30),
    ]


def _broken(jpeg: bytes, draw: random.Random) -> list[image_pb2.Image]:
    return [
        image_pb2.Image(),
        image_pb2.Image(encoded=b""),
        image_pb2.Image(encoded=draw.randbytes(1000)),
        image_pb2.Image(encoded=jpeg[: len(jpeg) // 2]),
        _raw(bytes(100), image_pb2.PIXEL_FORMAT_RGB8, 10, 10),
        _raw(bytes(300), image_pb2.PIXEL_FORMAT_UNSPECIFIED, 10, 10),
        _raw(b"", image_pb2.PIXEL_FORMAT_RGB8, 0, 10),
        _raw(bytes(100), image_pb2.PIXEL_FORMAT_GRAY8, 2**31, 2**31),
        _raw(bytes(3 * 5 * 7), image_pb2.PIXEL_FORMAT_NV12, 5, 7),
        _raw(struct.pack("<3f", 0.5, 2.0, 0.5), image_pb2.PIXEL_FORMAT_RGB_FLOAT32, 1, 1),
    ]


def _raw(data: bytes, pixel_format: image_pb2.PixelFormat.ValueType, height: int, width: int) -> image_pb2.Image:
    raw = image_pb2.RawImage(data=data, pixel_format=pixel_format, height=height, width=width)
    return image_pb2.Image(raw=raw)
