"""Every picture's last step: to the size of the network's input, into the caller's memory."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from nasfeat_server.imaging.framing import STRETCH, Box, Framing


def write_resized(
    image: Image.Image, out: npt.NDArray[np.uint8], framing: Framing = STRETCH, box: Box | None = None
) -> None:
    """Bring the picture in the part `box` of `image` to the shape of `out`, and write it there.

    Bilinear, and antialiased: where the picture shrinks, the filter's support grows with the factor, so that every
    source pixel counts. What comes out is within 1 of `tf.image.resize(..., antialias=True)`.

    Args:
        image: of mode "L", which is written three times, or "RGB".
        out: uint8 [height, width, 3].
        framing: which part of the picture is taken, and where it goes.
        box: where the picture is, in pixels of `image`; all of it by default.
    """
    whole = (0.0, 0.0, float(image.width), float(image.height))
    box = box or whole
    out = framing.place(out, box[2] - box[0], box[3] - box[1])
    box = framing.part(box)
    height, width = out.shape[:2]
    if image.size != (width, height) or box != whole:
        image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image)
    out[...] = pixels if pixels.ndim == 3 else pixels[:, :, None]
