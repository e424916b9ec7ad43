"""Pictures in tar and zip archives, read from front to back and never unpacked."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import click

from nasfeat_client.cli.pictures.picture import Picture, is_picture

TAR_SUFFIXES = (".tar", ".tar.bz2", ".tar.gz", ".tar.xz", ".tbz2", ".tgz", ".txz")
ZIP_SUFFIXES = (".zip",)
# What is larger is no picture that a server takes; of it so much is read that the SDK finds it too large.
_MOST_BYTES = 2**28


def tar_pictures(archive: Path) -> Iterator[Picture]:
    """Give the pictures of a tar archive, which may be compressed.

    Raises:
        click.ClickException: it cannot be read, or ends too early.
    """
    try:
        with archive.open("rb") as file:
            yield from tar_stream_pictures(file, f"{archive}/")
    except OSError as error:
        raise _unreadable(archive, error) from error


def tar_stream_pictures(file: IO[bytes], prefix: str) -> Iterator[Picture]:
    """Give the pictures of a tar archive that comes from a pipe; see `tar_pictures`."""
    try:
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                if member.isfile() and is_picture(member.name):
                    yield Picture(name=f"{prefix}{member.name}", read=_member_reader(tar, member))
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _unreadable(prefix.rstrip("/") or "stdin", error) from error


def zip_pictures(archive: Path) -> Iterator[Picture]:
    """Give the pictures of a zip archive.

    Raises:
        click.ClickException: it cannot be read.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in filter(is_picture, opened.namelist()):
                yield Picture(name=f"{archive}/{name}", read=_zip_reader(opened, name))
    except (zipfile.BadZipFile, OSError) as error:
        raise _unreadable(archive, error) from error


def zip_names(archive: Path) -> list[str]:
    """Give the names of the pictures of a zip archive."""
    with zipfile.ZipFile(archive) as opened:
        return [name for name in opened.namelist() if is_picture(name)]


def _member_reader(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        file = tar.extractfile(member)
        return file.read(_MOST_BYTES) if file else b""

    return read


def _zip_reader(opened: zipfile.ZipFile, name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with opened.open(name) as file:
                return file.read(_MOST_BYTES)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            # Damaged, encrypted, or compressed in a way that nobody reads here: this one alone.
            raise OSError(str(error)) from error

    return read


def _unreadable(archive: Path | str, error: Exception) -> click.ClickException:
    return click.ClickException(f"cannot read {archive}: {error}")
