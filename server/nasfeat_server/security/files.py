"""Files that are replaced while the server runs."""

import os
from collections.abc import Sequence
from pathlib import Path

# Of a key, a chain or a list of tokens; whatever is larger was named by mistake.
_MAX_BYTES = 2**20


class WatchedFiles:
    """Files that belong together and are read again when one of them has changed.

    A change is seen by a file's time, size or identity: editors write files anew, Kubernetes swaps a link.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Look at nothing yet."""
        self.paths = tuple(paths)
        self._seen: object = None

    def read_if_changed(self) -> tuple[bytes, ...] | None:
        """Read the files if one has changed since the last call, whatever came of that; None if none has.

        Raises:
            OSError: a file cannot be read, or is over 1 MiB.
        """
        try:
            state: object = tuple(_state(path) for path in self.paths)
        except OSError as error:
            state = str(error)
        if state == self._seen:
            return None
        self._seen = state
        return tuple(_read(path) for path in self.paths)


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise OSError(f"{os.fspath(path)} is over {_MAX_BYTES} bytes")
    return content
