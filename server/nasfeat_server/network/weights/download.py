"""Downloads that resume, say how far they are, are verified and land in the cache in one step."""

import contextlib
import functools
import hashlib
import http.client
import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pooch

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.weights.cache import MIB, check_space, exclusive
from nasfeat_server.network.weights.reach import TIMEOUT_S, unreachable
from nasfeat_server.network.weights.values import Report

_TRIES = 4
_CHUNK = 2**18
_LINES = 20


def place_of(url: str, cache: Path) -> Path:
    """Say where the file behind `url` is kept, downloaded or not."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2][-100:] or "download"
    return cache / "downloads" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"


def fetch(url: str, cache: Path, *, digest: str | None = None, report: Report) -> Path:
    """Return the file behind `url`, downloading it if the cache does not have it.

    A download that was cut off goes on where it ended, if the server can do so and the file is still the same. Several
    processes download a file once.

    Args:
        url: http or https.
        cache: the directory to keep it in.
        digest: "md5:<hex>" or another algorithm of hashlib, if it is known; also the file in the cache must have it.
        report: is told the progress in some twenty lines.

    Raises:
        WeightsError: the host cannot be reached, has no such file or stops sending; the digest is another; the disk is
            full.
    """
    path = place_of(url, cache)
    if path.is_file() and digest is None:
        return path
    with exclusive(path, f"waits for another process that downloads {url}", report):
        if not path.is_file() and (reason := unreachable([url]).get(url)):
            raise WeightsError(f"cannot download {url}: {reason}")
        try:
            with _quiet():
                pooch.retrieve(
                    url,
                    digest,
                    fname=path.name,
                    path=path.parent,
                    downloader=functools.partial(
                        _download, partial=path.with_name(f"{path.name}.partial"), report=report
                    ),
                )
        except ValueError as error:  # how pooch says that the digest is wrong; it has removed the file
            raise WeightsError(f"{url} sent another file than was published: {error}") from error
        except OSError as error:
            raise WeightsError(f"cannot store {url} in {path.parent}: {error}") from error
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep pooch from announcing downloads itself, to advise on digests."""
    logger: logging.Logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _download(url: str, output: str, _pooch: object, *, partial: Path, report: Report) -> None:
    """Be pooch's downloader: what has come stays in `partial` until it is whole, then becomes `output`."""
    for left in reversed(range(_TRIES)):
        before = _size(partial)
        reason = _continue(url, partial, report)
        if reason is None:
            partial.replace(output)
            _validator(partial).unlink(missing_ok=True)
            return
        came = f"{url} broke off after {_size(partial) / MIB:.1f} MiB: {reason}"
        if not left or _size(partial) <= before:
            raise WeightsError(f"{came}; started again, the download goes on from there if the server can")
        report(came)


class _Resumable(NamedTuple):
    """How much of a file is here, and what the server then knew the file by."""

    size: int
    validator: str


def _continue(url: str, partial: Path, report: Report) -> str | None:
    """Download what is missing; return None if that was all, or why it was not."""
    have = _resumable(partial)
    headers = {"Accept-Encoding": "identity", "User-Agent": "nasfeat"}
    if have.size:
        headers |= {"Range": f"bytes={have.size}-", "If-Range": have.validator}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)  # noqa: S310 - `locate` takes http(s) only
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have.size:
            raise WeightsError(f"cannot download {url}: the server answers {error.code} {error.reason}") from error
        partial.unlink()
        return _continue(url, partial, report)
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    with response:
        return _receive(response, url, partial, have.size, report)


def _receive(response: Any, url: str, partial: Path, have: int, report: Report) -> str | None:
    offset = have if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
    if offset and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        partial.unlink()
        return "the server sent another part than it was asked for"
    length = response.headers.get("Content-Length")
    total = offset + int(length) if length else None
    if have and not offset:
        report(f"starting {url} over: the server has a newer file, or cannot resume")
    check_space(partial.parent, int(length or 0))
    _validator(partial).write_text(json.dumps(_validator_of(response)))
    tell = _progress(url, offset, total, report)
    with partial.open("ab" if offset else "wb") as file:
        while True:
            try:
                chunk = response.read1(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                return str(error) or type(error).__name__
            if not chunk:
                break
            file.write(chunk)
            tell(file.tell())
        size = file.tell()
    return None if total in (None, size) else f"{(total or 0) / MIB:.1f} MiB were announced"


def _progress(url: str, offset: int, total: int | None, report: Report) -> Callable[[int], None]:
    """Tell each twentieth of a file, but no steps below 1 MiB; each doubling if the size is unknown."""
    name = urllib.parse.urlsplit(url).path.rpartition("/")[2] or url
    size = f"{total / MIB:.1f} MiB" if total else "unknown size"
    report(f"downloading {url} ({size}{f', going on at {offset / MIB:.1f} MiB' if offset else ''})")
    step = max(total // _LINES, MIB) if total else 0
    following = offset + step if step else 8 * MIB

    def tell(size: int) -> None:
        nonlocal following
        if size < following:
            return
        following = (size // step + 1) * step if step else 2 * following
        share = f"{100 * size // total} % of {total / MIB:.1f}" if total else f"{size / MIB:.0f}"
        report(f"downloading {name}: {share} MiB")

    return tell


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.is_file() else 0


def _validator(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _validator_of(response: Any) -> str:
    tag: str = response.headers.get("ETag", "")
    # A weak tag says that two files mean the same, not that their bytes fit together.
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _resumable(partial: Path) -> _Resumable:
    with contextlib.suppress(OSError, ValueError):
        validator = str(json.loads(_validator(partial).read_text()))
        if validator:
            return _Resumable(_size(partial), validator)
    partial.unlink(missing_ok=True)  # without a validator nobody knows what it is the beginning of
    return _Resumable(0, "")
