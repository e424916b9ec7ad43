"""The one way from the bytes of a request to the pixels of the network's input."""

import hashlib

import numpy as np
import numpy.typing as npt

from nasfeat_server.imaging.encoded import write_encoded
from nasfeat_server.imaging.framing import STRETCH, Framing
from nasfeat_server.imaging.raw import write_raw
from nasfeat_server.imaging.types import ImageLimits, RawPixels

# Vectors are comparable only if their pixels were made alike: whoever changes what is written changes this text.
_DESCRIPTION = """\
nasfeat preprocessing 2
encoded: first frame; resized as stored, then turned by its EXIF orientation; 16 bits a channel by the high byte;
  alpha dropped; CMYK by Pillow;
  JPEG shrunk by 2, 4 or 8 while decoding, to no less than 1.5 times the output
NV12, I420: BT.601 or BT.709, limited or full range, planes resized before conversion; chroma repeated where nothing is
  resized
RGB_FLOAT32: times 255, rounded half to even
gray: repeated to R, G, B
framing: {framing}; what letterbox leaves is 128
resize: bilinear with antialiasing, 8 bits
output: uint8 RGB [{height}, {width}, 3]
"""


def decode_into(
    source: bytes | RawPixels, out: npt.NDArray[np.uint8], limits: ImageLimits, framing: Framing = STRETCH
) -> None:
    """Write a picture upright, in RGB and brought to the size of `out`.

    Safe to call from many threads at once; the codecs and the resize run without the interpreter lock.

    Args:
        source: a whole JPEG, PNG, WebP, GIF, BMP or TIFF file, or raw pixels.
        out: uint8 [height, width, 3]; undefined after an error.
        limits: what is too large; checked before memory is taken for the pixels.
        framing: which part of the picture is taken, and where it goes.

    Raises:
        InvalidImageError: what is wrong with the picture, with the numbers; never anything else.
    """
    if isinstance(source, RawPixels):
        write_raw(source, out, limits, framing)
    else:
        write_encoded(source, out, limits, framing)


def preprocessing_digest(height: int, width: int, framing: Framing = STRETCH) -> str:
    """Identify what `decode_into` does for an output of `height` x `width`: "sha256:" and 64 hexadecimal digits."""
    text = _DESCRIPTION.format(height=height, width=width, framing=framing)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
