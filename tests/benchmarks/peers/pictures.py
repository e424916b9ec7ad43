"""The pictures that all are asked about: a directory of raw pixels and of JPEGs, written once, read by every client."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size; `raw` are pixels RGB, uint8 [size, size, 3], and `jpeg` files of the same pictures."""

    size: int
    raw: tuple[bytes, ...]
    jpeg: tuple[bytes, ...]

    def of(self, load: str) -> tuple[bytes, ...]:
        """Give the pictures of a load: "raw" or "jpeg"."""
        return {"raw": self.raw, "jpeg": self.jpeg}[load]


def read_pictures(directory: Path) -> Pictures:
    """Read what `written.write_pictures` wrote."""
    head = json.loads((directory / "pictures.json").read_text())
    numbers = range(head["count"])
    return Pictures(
        size=head["size"],
        raw=tuple((directory / f"{number}.rgb").read_bytes() for number in numbers),
        jpeg=tuple((directory / f"{number}.jpg").read_bytes() for number in numbers),
    )
