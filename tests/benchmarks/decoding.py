"""Milliseconds from the file of a 1080p JPEG to the network's pixels, ours beside Pillow and OpenCV."""

import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from PIL import Image
from rich.table import Table
from skimage import data

from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.types import ImageLimits

_SIZE = (331, 331)
_LIMITS = ImageLimits(max_bytes=2**26, max_pixels=2**26)


def decoding_table(rounds: int) -> Table:
    """Decode a photograph in each way in turns, `rounds` times."""
    file = io.BytesIO()
    Image.fromarray(data.astronaut()).resize((1920, 1080), Image.Resampling.LANCZOS).save(file, "JPEG", quality=90)
    ways = _ways(file.getvalue())
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, decode in ways.items():
            started_at = time.perf_counter()
            decode()
            taken[name].append(1000 * (time.perf_counter() - started_at))
    table = Table(title=f"From a 1920x1080 JPEG of {len(file.getvalue()) / 1000:.0f} kB to 331x331")
    for heading in ("way", "ms", "ours against it"):
        table.add_column(heading, no_wrap=True)
    ours = taken["nasfeat"]
    for name, theirs in taken.items():
        ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
        table.add_row(name, f"{statistics.median(theirs):.1f}", f"{ratio:.2f}")
    return table


def _ways(data: bytes) -> dict[str, Callable[[], Any]]:
    out = np.empty((*_SIZE, 3), np.uint8)
    array = np.frombuffer(data, np.uint8)
    return {
        "nasfeat": lambda: decode_into(data, out, _LIMITS),
        "Pillow, bilinear": lambda: Image.open(io.BytesIO(data)).resize(_SIZE, Image.Resampling.BILINEAR),
        "OpenCV, linear (not antialiased)": lambda: cv2.resize(cv2.imdecode(array, cv2.IMREAD_COLOR), _SIZE),
        "OpenCV, area": lambda: cv2.resize(cv2.imdecode(array, cv2.IMREAD_COLOR), _SIZE, interpolation=cv2.INTER_AREA),
    }
