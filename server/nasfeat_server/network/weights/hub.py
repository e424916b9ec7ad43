"""TF-Hub modules, found by their handle with TF-Hub's own resolver, in its own cache."""

import contextlib
import hashlib
import logging
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasfeat_server.errors import WeightsError
from nasfeat_server.network.weights.reach import TIMEOUT_S, unreachable
from nasfeat_server.network.weights.values import Report

_SERVICE = "https://tfhub.dev/"


def url_of(handle: str) -> str:
    """Return the address of a handle on tfhub.dev; paths and URLs are their own."""
    if "://" in handle or handle.startswith((".", "/")) or Path(handle).exists():
        return handle
    return _SERVICE + handle


def cached(handle: str) -> Path | None:
    """Return the directory of a module that is in TF-Hub's cache: the one that TFHUB_CACHE_DIR names."""
    resolver = library().resolver
    directory = Path(resolver.tfhub_cache_dir(use_temp=True)) / hashlib.sha1(url_of(handle).encode()).hexdigest()  # noqa: S324 - TF-Hub names its folders so
    return directory if directory.is_dir() and any(directory.iterdir()) else None


def resolve(handle: str, report: Report) -> Path:
    """Return the local place of a module, downloading it into TF-Hub's cache if it is not there.

    Args:
        handle: a path, a URL, or a handle on tfhub.dev such as "google/imagenet/nasnet_large/feature_vector/1".
        report: is told of a download, and every 15 s how far it is.

    Raises:
        WeightsError: the module cannot be fetched; within seconds if there is no network.
    """
    url = url_of(str(Path(handle).expanduser()) if handle.startswith("~") else handle)
    remote = url.startswith(("http://", "https://"))
    if remote and (found := cached(url)):
        return found
    if remote and (reason := unreachable([url]).get(url)):
        raise WeightsError(f"cannot fetch {url}: {reason}")
    try:
        with _timeout(), _reporting(report):
            return Path(library().resolve(url))
    except Exception as error:  # the library lets through whatever urllib, tarfile and TensorFlow raise
        raise WeightsError(f"cannot fetch {url}: {error}") from error


def library() -> Any:
    """Import tensorflow_hub, and TensorFlow with it."""
    with warnings.catch_warnings():
        # tensorflow-hub 0.16.1 imports pkg_resources, which announces its own end.
        warnings.filterwarnings("ignore", message=r".*pkg_resources.*")
        import tensorflow_hub  # noqa: PLC0415
    return tensorflow_hub


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    """Bound every wait for the network: the library asks without a timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _reporting(report: Report) -> Iterator[None]:
    """Hand on what the library says of its progress; it does so in absl's log, where nobody would see it."""
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: report(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("absl")
    before = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before
