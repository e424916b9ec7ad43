"""The processes of a soak: the server and its clients."""

import asyncio
import contextlib
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.soak.ledger import ANSWERS, FIELDS, Tally

_SERVER = Path(sys.executable).with_name("nasfeat-server")
# The allocator gives back at once what is free, so that the resident memory is what the server holds: by default it
# keeps ten times as much, more or less by chance.
_ALLOCATOR = {
    "GLIBC_TUNABLES": "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=65536:glibc.malloc.trim_threshold=65536"
}
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server's process, and where it says that it serves."""

    child: asyncio.subprocess.Process
    process: psutil.Process
    listening: str
    metrics: str

    def replicas(self) -> list[psutil.Process]:
        """Give the processes that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return self.process.children(recursive=True)
        return []


@contextlib.asynccontextmanager
async def running_server(*options: str, log: Path) -> AsyncIterator[Server]:
    """Run `nasfeat-server` until the context ends, its log in a file; killed if it still runs then.

    Raises:
        RuntimeError: it ended instead of serving.
    """
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            _SERVER,
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=file,
            env=os.environ | _ALLOCATOR,
        )
    try:
        while not (found := _serving(log)):
            if child.returncode is not None:
                raise RuntimeError(f"the server ended with {child.returncode}: see {log}")
            await asyncio.sleep(0.1)
        yield Server(child=child, process=psutil.Process(child.pid), listening=found[1], metrics=found[2])
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _serving(log: Path) -> re.Match[str] | None:
    return re.search(r"serving \S+ on (\S+), metrics on (\S+)", log.read_text(errors="replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is left of a client process: its counters and complaints, and the frames it did not see answered."""

    counts: Mapping[str, int]
    complaints: tuple[str, ...]
    killed: bool

    @property
    def unanswered(self) -> int:
        """Frames that it sent and neither saw answered nor gave up."""
        return unanswered(self.counts)


def unanswered(counts: Mapping[str, int]) -> int:
    """Give the frames that were sent, not answered as far as the client saw, and not given up by it."""
    return counts["sent"] - sum(counts[field] for field in (*ANSWERS, "cancelled"))


class ClientProcess:
    """A client from its start to its end.

    Args:
        address: the server's.
        seed: of what it draws.
        folder: where its tally lies.
    """

    def __init__(self, *, address: str, seed: str, folder: Path) -> None:
        self._address = address
        self._seed = seed
        self._path = folder / f"{seed.replace('/', '-')}.tally"
        self._tally: Tally | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._killed = False

    async def start(self) -> psutil.Process:
        """Start it."""
        self._tally = Tally.create(self._path)
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.soak.client",
            self._address,
            self._path,
            self._seed,
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return psutil.Process(self._child.pid)

    @property
    def counts(self) -> Counter[str]:
        """What it has counted so far."""
        return self._tally.read() if self._tally else Counter(dict.fromkeys(FIELDS, 0))

    def kill(self) -> None:
        """Kill it where it stands."""
        self._killed = True
        if self._child:
            self._child.kill()

    def finish(self) -> None:
        """Let it finish what it has begun."""
        if self._child and self._child.stdin:
            self._child.stdin.close()

    async def wait(self) -> Ended:
        """Return when it has ended; one that ended badly by itself complains of that too."""
        if not self._child or not self._child.stdout:
            raise AssertionError("it was started, with a pipe")
        printed = (await self._child.stdout.read()).decode(errors="replace").splitlines()
        status = await self._child.wait()
        if status != 0 and not self._killed:
            printed.append(f"client {self._seed} ended with {status}")
        return Ended(counts=dict(self.counts), complaints=tuple(printed), killed=self._killed)
