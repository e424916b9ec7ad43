"""The memory of a process and of those that it started, as the kernel tells it."""

import os
from collections.abc import Iterator
from pathlib import Path


def tree_bytes(pid: int) -> int | None:
    """Add up the memory of the process `pid`, a child of this one, and of all below it; None if there is none such.

    Memory that processes share, as the arena, is counted in equal parts for each of those that have it mapped (PSS),
    so that a sum over processes is right. Where the kernel does not let that be read it counts in full (RSS).
    """
    if _parent(pid) != os.getpid():
        # It has ended; its number may be another process' by now.
        return None
    found = [size for size in map(_own_bytes, _tree(pid)) if size is not None]
    return sum(found) if found else None


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in (_read(path) or "").split():
            yield from _tree(int(child))


def _parent(pid: int) -> int | None:
    stat = _read(Path(f"/proc/{pid}/stat"))
    # The name stands before it, in parentheses, and may hold anything.
    return int(stat.rpartition(")")[2].split()[1]) if stat else None


def _own_bytes(pid: int) -> int | None:
    for line in (_read(Path(f"/proc/{pid}/smaps_rollup")) or "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    pages = _read(Path(f"/proc/{pid}/statm"))
    return int(pages.split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
