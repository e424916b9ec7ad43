"""A place for temporary files, for processes that cannot do without."""

import tempfile
from collections.abc import Mapping
from pathlib import Path


def temporary_place(cache: Path) -> Mapping[str, str]:
    """Give the variables of a process that shall find a place: `cache`, where the system has none.

    TensorFlow looks for one when it is imported, and on a file system that cannot be written to there is no other.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return {"TMPDIR": str(cache)}
    return {}
