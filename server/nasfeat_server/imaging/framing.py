"""How a picture of any proportions is brought to the network's: which part of it is taken, and where it goes."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import ConfigurationError

Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels."""

# What becomes zero in the network, as its own padding is.
_GRAY = 128


@dataclass(frozen=True, slots=True)
class Framing:
    """A policy.

    Attributes:
        kind: "stretch" takes all of the picture to all of the output, proportions changed. "center_crop" does so with
            the middle of it, as TF-Slim evaluates. "letterbox" keeps the proportions and leaves gray at two sides.
        fraction: the part of the width and of the height that "center_crop" takes.
    """

    kind: Literal["stretch", "center_crop", "letterbox"] = "stretch"
    fraction: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Framing":
        """Read "stretch", "letterbox" or "center_crop:FRACTION".

        Raises:
            ConfigurationError: `text` is something else.
        """
        if text == "stretch":
            return cls()
        if text == "letterbox":
            return cls("letterbox")
        found = re.fullmatch(r"center_crop:(\d*\.?\d+)", text)
        if not found or not 0 < float(found[1]) <= 1:
            raise ConfigurationError(
                f"{text!r} is not stretch, letterbox or center_crop:FRACTION with a fraction over 0 and up to 1"
            )
        return cls("center_crop", float(found[1]))

    def __str__(self) -> str:
        """Give back what `parse` reads."""
        return f"{self.kind}:{self.fraction:g}" if self.kind == "center_crop" else self.kind

    def part(self, box: Box) -> Box:
        """Give the part that is taken of a picture that lies in `box`."""
        left, upper, right, lower = box
        across, down = ((1 - self.fraction) / 2 * length for length in (right - left, lower - upper))
        return left + across, upper + down, right - across, lower - down

    def place(self, out: npt.NDArray[np.uint8], width: float, height: float) -> npt.NDArray[np.uint8]:
        """Give the part of `out`, uint8 [H, W, 3], that a picture goes to, and fill the rest of it."""
        rows, columns = self.size(out.shape, width, height)
        if (rows, columns) == out.shape[:2]:
            return out
        out[...] = _GRAY
        top, left = (out.shape[0] - rows) // 2, (out.shape[1] - columns) // 2
        return out[top : top + rows, left : left + columns]

    def size(self, shape: tuple[int, ...], width: float, height: float) -> tuple[int, int]:
        """Give the rows and columns that a picture of `width` x `height` takes of an output of `shape`."""
        rows, columns = shape[:2]
        if self.kind != "letterbox":
            return rows, columns
        scale = min(rows / height, columns / width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def keeps(self, shape: tuple[int, ...], width: int, height: int) -> bool:
        """Tell whether a picture of `width` x `height` goes to an output of `shape` as it is."""
        return (height, width) == shape[:2] and self.fraction == 1


STRETCH = Framing()
