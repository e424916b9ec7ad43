"""Write the pictures: parts of photographs, so that JPEGs are as large as those of cameras, and no two are alike."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

COUNT = 128
_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle_left", "retina")
_QUALITY = 90


def write_pictures(directory: Path, size: int) -> None:
    """Write `COUNT` pictures of size x size: N.rgb, N.jpg, and pictures.json last, which says that all are there."""
    head = directory / "pictures.json"
    if head.exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for path in Path(data.__file__).parent.glob("*") if path.stem in _PHOTOGRAPHS)
    whole = [Image.open(path).convert("RGB") for path in paths]
    for number in range(COUNT):
        pixels = _part(whole[number % len(whole)], number, size)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
        (directory / f"{number}.rgb").write_bytes(pixels.tobytes())
        (directory / f"{number}.jpg").write_bytes(file.getvalue())
    head.write_text(json.dumps({"size": size, "count": COUNT}))


def _part(picture: Image.Image, seed: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    random = np.random.default_rng(seed)
    side = int(random.integers(min(picture.size) // 2, min(picture.size) + 1))
    left, top = (int(random.integers(0, extent - side + 1)) for extent in picture.size)
    part = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(part, np.uint8)
