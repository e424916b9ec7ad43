"""Forks: gRPC's threads stay behind in the parent, and whoever calls it in the child waits for them for ever."""

import os

_FORKED = (
    "this process was forked from one that had used gRPC, which does not survive that (grpc/grpc#13873); start "
    'processes anew, with multiprocessing.get_context("spawn"), or fork before the first call'
)


class _Home:
    """The process in which gRPC was first used."""

    pid: int | None = None


def note_use() -> None:
    """Note that gRPC is used in this process now.

    Raises:
        RuntimeError: it was used before in the one that this was forked from.
    """
    _Home.pid = _Home.pid or os.getpid()
    if forked():
        raise RuntimeError(_FORKED)


def forked() -> bool:
    """Tell whether this process was forked from one that had used gRPC."""
    return _Home.pid not in {None, os.getpid()}
