"""4:2:0 video frames to RGB.

The planes are resized first and converted then: the conversion is linear but for its clipping, so the picture is the
same to within rounding, and a full-size frame costs three small resizes in place of millions of conversions.
"""

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image

from nasfeat_server.imaging.framing import Framing
from nasfeat_server.imaging.types import ColorMatrix, ColorRange, PixelFormat, RawPixels

# How much red and blue count for luma: ITU-R BT.601-7 and BT.709-6, item 3.
_WEIGHTS = {ColorMatrix.BT601: (0.299, 0.114), ColorMatrix.BT709: (0.2126, 0.0722)}
# Black, and how many steps luma and chroma have.
_STEPS = {ColorRange.LIMITED: (16, 219, 224), ColorRange.FULL: (0, 255, 255)}


@functools.cache
def _conversion(matrix: ColorMatrix, steps: ColorRange) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Give what is black in Y, Cb and Cr, and the matrix from there to R, G and B: [3], [3, 3]."""
    red, blue = _WEIGHTS[matrix]
    green = 1 - red - blue
    black, luma_steps, chroma_steps = _STEPS[steps]
    luma, chroma = 255 / luma_steps, 255 / chroma_steps
    to_rgb = [
        [luma, 0, 2 * (1 - red) * chroma],
        [luma, -2 * (1 - blue) * blue / green * chroma, -2 * (1 - red) * red / green * chroma],
        [luma, 2 * (1 - blue) * chroma, 0],
    ]
    return np.array([black, 128, 128], np.float32), np.array(to_rgb, np.float32)


def write_yuv(rows: npt.NDArray[np.uint8], raw: RawPixels, out: npt.NDArray[np.uint8], framing: Framing) -> None:
    """Convert an NV12 or I420 frame, bring it to the shape of `out` and write it there.

    Args:
        rows: uint8 [height * 3 / 2, stride]: the whole frame, checked.
        raw: its format, height, width and colours.
        out: uint8 [height, width, 3].
        framing: which part of the frame is taken, and where it goes.
    """
    # Unscaled frames repeat each chroma sample over its 2x2 pixels, as video players do.
    as_it_is = framing.keeps(out.shape, raw.width, raw.height)
    method = Image.Resampling.NEAREST if as_it_is else Image.Resampling.BILINEAR
    out = framing.place(out, raw.width, raw.height)
    height, width = out.shape[:2]
    luma = rows[: raw.height, : raw.width]
    planes = np.empty((height, width, 3), np.float32)
    for index, plane in enumerate((luma, *_chroma_planes(rows[raw.height :], raw))):
        part = framing.part((0, 0, plane.shape[1], plane.shape[0]))
        planes[:, :, index] = np.asarray(Image.fromarray(plane).resize((width, height), method, box=part))
    black, to_rgb = _conversion(raw.color_matrix, raw.color_range)
    rgb = (planes - black) @ to_rgb.T
    out[...] = np.rint(rgb.clip(0, 255)).astype(np.uint8)


def _chroma_planes(rows: npt.NDArray[np.uint8], raw: RawPixels) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Give Cb and Cr, uint8 [height / 2, width / 2] each, from the rows after the luma plane."""
    if raw.pixel_format is PixelFormat.NV12:
        return rows[:, 0 : raw.width : 2], rows[:, 1 : raw.width : 2]
    blue, red = rows.reshape(2, raw.height // 2, -1)
    return blue[:, : raw.width // 2], red[:, : raw.width // 2]
