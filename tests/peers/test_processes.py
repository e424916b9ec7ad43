"""What a server used is counted over all its processes, and nothing of it is left."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import psutil
from peers.processes import leashed, pss_of

# Uses processor time in a child that ends, and in a daemon that its parent left alone; then says so and waits.
_BUSY = """
import os, pathlib, subprocess, sys, time
busy = "import time\\nwhile time.process_time() < 0.3: pass\\n"
subprocess.run([sys.executable, "-S", "-c", busy], check=True)
daemon = busy + "import pathlib, os; pathlib.Path('daemon').write_text(str(os.getpid())); time.sleep(600)"
if not os.fork():
    subprocess.Popen([sys.executable, "-S", "-c", daemon], start_new_session=True)
    os._exit(0)
os.wait()
time.sleep(600)
"""


async def _content(path: Path) -> str:
    """Wait for what another process writes to a file."""
    async with asyncio.timeout(60):
        while not (content := _read(path)):  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(0.01)
    return content


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def test_children_that_ended_and_daemons_are_counted_and_ended(tmp_path: Path) -> None:
    """Nothing that a server starts escapes: not from the count, and not when it is ended."""
    command = (sys.executable, "-S", "-c", _BUSY)
    async with leashed(*command, environment=os.environ, directory=tmp_path, log=tmp_path / "log") as (process, tree):
        daemon = psutil.Process(int(await _content(tmp_path / "daemon")))
        assert {process.pid, daemon.pid} <= {member.pid for member in tree.members()}
        assert tree.cpu_s() >= 0.55
        assert 1 < tree.memory_mb() < 500
    assert process.returncode is not None
    assert not daemon.is_running()
    assert tree.members() == []


async def test_what_ignores_the_order_to_stop_is_killed(tmp_path: Path) -> None:
    """An error inside the context ends the server, too, and comes out."""
    stubborn = "import os, pathlib, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True)"
    command = (sys.executable, "-S", "-c", f"{stubborn}; time.sleep(600)")
    process = None
    with contextlib.suppress(KeyError):
        async with leashed(
            *command, environment=os.environ, directory=tmp_path, log=tmp_path / "log", patience_s=0.2
        ) as (process, _):
            await _content(tmp_path / "log")
            raise KeyError
    assert process
    assert process.returncode == -9


def test_the_proportional_set_size_is_read_in_bytes() -> None:
    """Of the lines of smaps_rollup the one of the sum counts, and a process that ends has none."""
    assert pss_of("55d5-7ffd ---p [rollup]\nRss:  900 kB\nPss:  320 kB\nPss_Anon:  100 kB\n") == 320 * 1024
    assert pss_of("") == 0
