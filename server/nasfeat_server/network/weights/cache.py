"""The directory that keeps downloads and what is unpacked of archives, shared by every process of the machine."""

import contextlib
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from nasfeat_server.errors import CacheError, WeightsError
from nasfeat_server.network.weights.values import Report

MIB = 2**20


def default_cache() -> Path:
    """Name the directory in the user's cache directory that is taken if none is given."""
    import pooch  # noqa: PLC0415 - not needed where a directory is given

    return Path(pooch.os_cache("nasfeat"))


@contextlib.contextmanager
def exclusive(path: Path, waiting: str, report: Report) -> Iterator[None]:
    """Let one process at a time make `path`; the others report `waiting` and wait.

    Raises:
        CacheError: the cache cannot be written to.
    """
    lock = filelock.FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            report(waiting)
            lock.acquire()
    except OSError as error:
        raise CacheError(f"the cache {path.parent} cannot be used: {error}") from error
    try:
        yield
    finally:
        lock.release()


def unpack(archive: Path, cache: Path, report: Report) -> Path:
    """Unpack a tar archive into `cache`, once for each state of the file, and return the directory of its contents.

    The directory appears when it is complete. If all that is in it is one directory, that one is returned.

    Raises:
        WeightsError: the archive is damaged, would write outside of its directory, or there is no space.
    """
    state = archive.stat()
    key = hashlib.sha256(f"{archive.resolve()} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:16]
    place = cache / "unpacked" / f"{key}-{archive.name.partition('.')[0]}"
    if not place.is_dir():
        with exclusive(place, f"waits for another process that unpacks {archive.name}", report):
            if not place.is_dir():
                report(f"unpacking {archive.name} ({state.st_size / MIB:.1f} MiB)")
                _extract(archive, place)
    return _innermost(place)


def _extract(archive: Path, place: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise WeightsError(f"unpacking safely takes Python 3.11.4 or newer; unpack {archive} and name what was in it")
    try:
        with tempfile.TemporaryDirectory(dir=place.parent, ignore_cleanup_errors=True) as made:
            inside = Path(made) / "contents"
            inside.mkdir()
            with tarfile.open(archive) as tar:
                tar.extractall(inside, filter="data")
            inside.rename(place)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise WeightsError(f"cannot unpack {archive} into {place.parent}: {error}") from error


def _innermost(directory: Path) -> Path:
    entries = list(directory.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and entries[0].name != "variables":
        return _innermost(entries[0])
    return directory


def can_keep(directory: Path) -> bool:
    """Try whether `directory` can be made and written to."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory) as probe:
            probe.write(b"a page of it" * 400)
            probe.flush()
    except OSError:
        return False
    return True


def check_space(directory: Path, needed: int) -> None:
    """Refuse early what would fill the disk.

    Raises:
        CacheError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise CacheError(
            f"not enough space in {os.fspath(directory)}: {needed / MIB:.1f} MiB needed, {free / MIB:.1f} MiB free"
        )
