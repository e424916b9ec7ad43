"""CPU cores that the replicas of a machine share out among themselves, without anyone who would tell them."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO


class CoreClaims:
    """Cores of this machine that no other process of this user claims; let go when the process ends."""

    def __init__(self, directory: Path | None = None) -> None:
        """Claim by locks of files in `directory`, by default one of the system's temporary ones."""
        self._directory = directory or Path(tempfile.gettempdir()) / f"nasfeat-cores-{os.getuid()}"
        self._locks: list[IO[bytes]] = []

    def claim(self, count: int) -> tuple[int, ...]:
        """Claim `count` cores; none if so many are not to be had, and the choice is the system's."""
        claimed: list[int] = []
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            for core in sorted(os.sched_getaffinity(0)):
                if len(claimed) < count and self._lock(core):
                    claimed.append(core)
        if len(claimed) < count:
            self.release()
            return ()
        return tuple(claimed)

    def release(self) -> None:
        """Let go of all."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()

    def _lock(self, core: int) -> bool:
        lock = (self._directory / str(core)).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._locks.append(lock)
        return True


def pin(cores: Sequence[int]) -> None:
    """Keep this thread, and those that it starts, to `cores`; none leaves it where it is."""
    if cores:
        os.sched_setaffinity(0, cores)
