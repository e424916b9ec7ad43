"""Pictures to try, as files in memory."""

import io

import numpy as np
from PIL import Image


def picture(seed: int, *, noise: float = 0.0, size: int = 64) -> bytes:
    """Make a PNG whose colours are a matter of `seed`; `noise`, from 0 to 1, alters each pixel by so much at most."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (4, 4, 3))
    pixels = coarse.repeat(size // 4, axis=0).repeat(size // 4, axis=1)
    pixels += np.random.default_rng(1000 + seed).uniform(-255, 255, pixels.shape) * noise
    written = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(written, "PNG")
    return written.getvalue()
