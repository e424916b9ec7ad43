"""4:2:0 video frames to RGB.

The planes are resized first and converted then: the conversion is linear but for its clipping, so the picture is the
same to within rounding, and a full-size frame costs three small resizes in place of millions of conversions.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from nasfeat_server.imaging.types import PixelFormat, RawPixels

# ITU-R BT.601, limited range: luma is 16 to 235, chroma is 16 to 240 around 128. Columns are Y, Cb, Cr; rows R, G, B.
_KR, _KB = 0.299, 0.114
_KG = 1 - _KR - _KB
_LUMA, _CHROMA = 255 / 219, 255 / 224
_TO_RGB = np.array(
    [
        [_LUMA, 0, 2 * (1 - _KR) * _CHROMA],
        [_LUMA, -2 * (1 - _KB) * _KB / _KG * _CHROMA, -2 * (1 - _KR) * _KR / _KG * _CHROMA],
        [_LUMA, 2 * (1 - _KB) * _CHROMA, 0],
    ],
    np.float32,
)
_BLACK = np.array([16, 128, 128], np.float32)


def write_yuv(rows: npt.NDArray[np.uint8], raw: RawPixels, out: npt.NDArray[np.uint8]) -> None:
    """Convert an NV12 or I420 frame, stretch it to the shape of `out` and write it there.

    Args:
        rows: uint8 [height * 3 / 2, stride]: the whole frame, checked.
        raw: its format, height and width.
        out: uint8 [height, width, 3].
    """
    height, width = out.shape[:2]
    same_size = (height, width) == (raw.height, raw.width)
    # Unscaled frames repeat each chroma sample over its 2x2 pixels, as video players do.
    method = Image.Resampling.NEAREST if same_size else Image.Resampling.BILINEAR
    luma = rows[: raw.height, : raw.width]
    planes = np.empty((height, width, 3), np.float32)
    for index, plane in enumerate((luma, *_chroma_planes(rows[raw.height :], raw))):
        planes[:, :, index] = np.asarray(Image.fromarray(plane).resize((width, height), method))
    rgb = (planes - _BLACK) @ _TO_RGB.T
    out[...] = np.rint(rgb.clip(0, 255)).astype(np.uint8)


def _chroma_planes(rows: npt.NDArray[np.uint8], raw: RawPixels) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Give Cb and Cr, uint8 [height / 2, width / 2] each, from the rows after the luma plane."""
    if raw.pixel_format is PixelFormat.NV12:
        return rows[:, 0 : raw.width : 2], rows[:, 1 : raw.width : 2]
    blue, red = rows.reshape(2, raw.height // 2, -1)
    return blue[:, : raw.width // 2], red[:, : raw.width // 2]
