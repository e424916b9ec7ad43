"""A server's hold on the artifact that its replicas load, and load again when they are restarted."""

import fcntl
from pathlib import Path

MANIFEST = "manifest.json"
"""The file of an artifact that names all others, and that is locked by those who use it."""


class Hold:
    """Keeps an artifact from being deleted until the context ends, or the process."""

    def __init__(self, artifact: str) -> None:
        """Name the artifact's directory."""
        self._artifact = Path(artifact)

    def __enter__(self) -> None:
        """Take a lock that others may have too."""
        self._file = (self._artifact / MANIFEST).open()
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._file.close()
