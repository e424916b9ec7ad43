"""What a server uses, over all of its processes: processor time and memory; and how it is ended."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil

LEASH = Path(__file__).with_name("leash.py")
_PATIENCE_S = 10.0


class Tree:
    """A process and all below it.

    Args:
        pid: of the process at the root.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def members(self) -> list[psutil.Process]:
        """List the processes that live now, the root first; none if the root is gone."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_s(self) -> float:
        """Read the processor seconds used so far, user and system, by processes that live and by those that ended.

        A process that ended is in the sum of the one that waited for it, and in no other.
        """
        return sum(map(_cpu_s, self.members()))

    def memory_mb(self) -> float:
        """Read the memory of all, MB; what several map is counted once (proportional set size)."""
        return sum(map(_pss_mb, self.members()))

    async def end(self, process: asyncio.subprocess.Process, patience_s: float) -> None:
        """Ask the root, which is `process`, to stop, wait for so long, kill what is left."""
        members = self.members()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience_s)
        left = {one.pid: one for one in (*members, *self.members()) if one.pid != process.pid or one.is_running()}
        for one in left.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        await process.wait()
        await asyncio.to_thread(
            psutil.wait_procs, [one for one in left.values() if one.pid != process.pid], _PATIENCE_S
        )


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _pss_mb(process: psutil.Process) -> float:
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pss_of(text) / 1e6


def pss_of(smaps_rollup: str) -> int:
    """Read the proportional set size, bytes, from the text of /proc/PID/smaps_rollup; 0 if it has none.

    A process that is about to end has no memory any more, and an empty text.
    """
    for line in smaps_rollup.splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss":
            return int(rest.split()[0]) * 1024
    return 0


@contextlib.asynccontextmanager
async def leashed(
    *command: str | Path, environment: Mapping[str, str], directory: Path, log: Path, patience_s: float = _PATIENCE_S
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Tree]]:
    """Run `command` in `directory` until the context ends, and then nothing of it; what it says goes to `log`."""
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-E", LEASH, *command),
            env=environment,
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C is for the benchmark, which ends everything in its order.
            start_new_session=True,
        )
    tree = Tree(process.pid)
    try:
        yield process, tree
    finally:
        await asyncio.shield(asyncio.ensure_future(tree.end(process, patience_s)))
