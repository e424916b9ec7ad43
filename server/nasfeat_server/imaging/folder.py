"""A folder of pictures as the network would see them: to calibrate and to check with."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import ConfigurationError, InvalidImageError
from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.framing import STRETCH, Framing
from nasfeat_server.imaging.types import ImageLimits

_LIMITS = ImageLimits(max_bytes=2**28, max_pixels=200_000_000)
_FEWEST = 8


def read_folder(directory: Path, size: int, most: int, framing: Framing = STRETCH) -> npt.NDArray[np.uint8]:
    """Decode up to `most` pictures below `directory`, evenly chosen by name; what is no picture is passed over.

    Returns:
        uint8 [N, size, size, 3], N being 8 or more.

    Raises:
        ConfigurationError: there is no such directory, or too few pictures in it.
    """
    if not directory.is_dir():
        raise ConfigurationError(f"there is no directory {directory} to take pictures from")
    files = sorted(path for path in directory.rglob("*") if path.is_file() and not path.name.startswith("."))
    chosen = [files[index * len(files) // most] for index in range(most)] if len(files) > most else files
    images = np.empty((len(chosen), size, size, 3), np.uint8)
    count = 0
    for path in chosen:
        try:
            decode_into(path.read_bytes(), images[count], _LIMITS, framing)
        except (InvalidImageError, OSError):
            continue
        count += 1
    if count < _FEWEST:
        raise ConfigurationError(f"{directory} has {count} pictures that can be read; {_FEWEST} or more are needed")
    return images[:count]
