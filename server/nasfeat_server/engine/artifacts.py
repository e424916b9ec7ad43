"""Models made ready for an engine, kept on disk and found again by what they were made of.

An artifact is a directory. It appears when it is complete, is checked whenever it is taken, and is made once however
many processes want it. All of them may be deleted while no server runs.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import blake3

from nasfeat_server import network
from nasfeat_server.engine.hold import MANIFEST
from nasfeat_server.errors import CacheError
from nasfeat_server.network.weights.cache import exclusive
from nasfeat_server.network.weights.values import Located, Report

# In bytes; a write that fails may leave some.
_LITTLE_SPACE = 2**20


class ArtifactStore:
    """A directory of artifacts, shared by every process of the machine.

    Args:
        directory: where they are.
        report: is told, a line at a time, what takes long.
        keep: artifacts that nobody uses and that are kept all the same, those used last.
    """

    def __init__(self, directory: Path, report: Report, *, keep: int = 6) -> None:
        self._directory = directory
        self._report = report
        self._keep = keep

    def get(self, key: str, make: Callable[[Path], None]) -> Path:
        """Find the artifact `key`, or let `make` fill a new directory with it.

        Raises:
            CacheError: the directory cannot be written to, or there is no space.
        """
        place = self._directory / key
        if self._is_sound(place):
            return place
        with exclusive(place, "waits for another process that prepares the same model", self._report):
            if not self._is_sound(place):
                self._make(place, make)
        return place

    def find(self, key: str) -> Path | None:
        """Find the artifact `key` if it is here and whole."""
        place = self._directory / key
        return place if self._is_sound(place) else None

    def _is_sound(self, place: Path) -> bool:
        try:
            manifest = json.loads((place / MANIFEST).read_bytes())
            found = bool(manifest == _manifest(place))
        except FileNotFoundError:
            return False
        except (OSError, ValueError):
            found = False
        if found:
            # A cache may be read-only, and is then not pruned either.
            with contextlib.suppress(OSError):
                (place / MANIFEST).touch()
        else:
            self._report(f"{place} is damaged: it is made anew")
        return found

    def _make(self, place: Path, make: Callable[[Path], None]) -> None:
        try:
            with tempfile.TemporaryDirectory(dir=self._directory, prefix=".", ignore_cleanup_errors=True) as made:
                contents = Path(made) / "contents"
                contents.mkdir()
                _fill(contents, make)
                (contents / MANIFEST).write_text(json.dumps(_manifest(contents)))
                shutil.rmtree(place, ignore_errors=True)
                contents.rename(place)
        except OSError as error:
            raise CacheError(f"cannot prepare the model in {self._directory}: {error}") from error
        self._prune(place)

    def _prune(self, newest: Path) -> None:
        """Delete what was used longest ago, but for what a server uses now."""
        found = [path.parent for path in self._directory.glob(f"*/{MANIFEST}")]
        found.sort(key=lambda place: (place / MANIFEST).stat().st_mtime)
        for place in found[: -self._keep]:
            if place == newest:
                continue
            with (place / MANIFEST).open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                shutil.rmtree(place, ignore_errors=True)


def _fill(directory: Path, make: Callable[[Path], None]) -> None:
    try:
        make(directory)
    except RuntimeError as error:
        # What libraries in C++ say of a full disk has no number.
        if shutil.disk_usage(directory).free > _LITTLE_SPACE:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory)) from error


def artifact_key(located: Located, engine: str, made_for: Mapping[str, object]) -> str:
    """Name what an artifact is made of: the weights by content, the network, what it is made for, and the code.

    Args:
        located: the network and its weights.
        engine: what it is made for; names the artifact for people.
        made_for: whatever else decides what is made, as JSON has it.
    """
    parts = {
        "weights": _weights_digest(located.location),
        "spec": dataclasses.asdict(located.spec),
        "labels": located.labels,
        "trained": located.trained,
        "made_for": made_for,
        "nasfeat": f"{version('nasfeat')} {_code_digest()}",
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{located.spec.name}-{engine}-{digest[:24]}"


def _weights_digest(location: str) -> str:
    if location.startswith("random:"):
        return location
    return _digest(_weights_files(Path(location)))


def _weights_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
    elif path.is_file():
        yield path
    else:
        # A checkpoint is named by the prefix of its files.
        yield from sorted(path.parent.glob(f"{path.name}.*"))


def _code_digest() -> str:
    package = Path(network.__file__).parent
    made_by = [*sorted(package.rglob("*.py")), *sorted(Path(__file__).parent.glob("engines/*.py"))]
    return _digest(iter(made_by))[:16]


def _digest(files: Iterator[Path]) -> str:
    total = blake3.blake3(max_threads=blake3.blake3.AUTO)
    for file in files:
        total.update(f"{file.name} {file.stat().st_size}\n".encode())
        total.update_mmap(file)
    return total.hexdigest()


def _manifest(directory: Path) -> dict[str, str]:
    """Name every file of an artifact with the digest of its content."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(directory)): _digest(iter([path])) for path in files}
