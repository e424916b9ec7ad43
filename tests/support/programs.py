"""The project's programs as a user runs them: found beside the interpreter, started, waited for."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SERVER = Path(sys.executable).with_name("nasfeat-server")
CLIENT = Path(sys.executable).with_name("nasfeat")

ANYWHERE = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
FAKE = ("--engine", "fake", "--weights", "random:0", "--variant", "cifar", *ANYWHERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server's process, and where it says that it serves."""

    process: asyncio.subprocess.Process
    listening: str
    metrics: str

    def replicas(self) -> list[psutil.Process]:
        """Give its replica processes."""
        return psutil.Process(self.process.pid).children()


async def start_server(
    *options: str, program: Sequence[str | Path] = (SERVER,), environment: Mapping[str, str] | None = None
) -> RunningServer:
    """Start `nasfeat-server` and return when it takes work.

    Raises:
        AssertionError: it ended instead; the message has its log.
    """
    process = await asyncio.create_subprocess_exec(*program, *options, stderr=asyncio.subprocess.PIPE, env=environment)
    if not process.stderr:
        raise AssertionError("the log is a pipe")
    log = []
    while line := (await process.stderr.readline()).decode():
        log.append(line)
        if found := re.search(r"serving \S+ on (\S+), metrics on (\S+)", line):
            return RunningServer(process=process, listening=found[1], metrics=found[2])
    raise AssertionError(f"the server ended with {await process.wait()}: {''.join(log)}")


@contextlib.asynccontextmanager
async def server(*options: str) -> AsyncIterator[RunningServer]:
    """Run `nasfeat-server` until the context ends; its log is read on, so that it never blocks."""
    running = await start_server(*options)
    if not running.process.stderr:
        raise AssertionError("the log is a pipe")
    reading = asyncio.ensure_future(running.process.stderr.read())
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.process.terminate()
        await running.process.wait()
        await reading


async def run_client(*arguments: str | Path) -> tuple[int, str, str]:
    """Run `nasfeat` to its end; give the exit code, what it printed and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        CLIENT, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, complained = await process.communicate()
    return process.returncode or 0, printed.decode(), complained.decode()
