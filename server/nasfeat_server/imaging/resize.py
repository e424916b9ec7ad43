"""Every picture's last step: to the size of the network's input, into the caller's memory."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Box = tuple[float, float, float, float]


def write_resized(image: Image.Image, out: npt.NDArray[np.uint8], box: Box | None = None) -> None:
    """Stretch the part `box` of `image` to the shape of `out`, and write it there.

    Bilinear, and antialiased: where the picture shrinks, the filter's support grows with the factor, so that every
    source pixel counts.

    Args:
        image: of mode "L", which is written three times, or "RGB".
        out: uint8 [height, width, 3].
        box: left, upper, right, lower in pixels of `image`; all of it by default.
    """
    height, width = out.shape[:2]
    if image.size != (width, height) or box not in {None, (0, 0, width, height)}:
        image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image)
    out[...] = pixels if pixels.ndim == 3 else pixels[:, :, None]
