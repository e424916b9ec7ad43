"""The memory of a process and of all that it started."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nasfeat_server.telemetry import replica_memory
from nasfeat_server.telemetry.replica_memory import tree_bytes

_MIB = 2**20
# Holds 64 MiB, as does the process that it starts, and says so; both end with their input.
_HOLDER = """
import subprocess, sys
held = bytearray(b"x") * (64 * 2**20)
if sys.argv[1:]:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, stdin=sys.stdin)
    child.stdout.readline()
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that holds 64 MiB and one below it that does, too."""
    command = [sys.executable, "-c", _HOLDER, _HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.communicate()


def test_the_memory_of_a_process_and_its_children_is_added_up(holder: subprocess.Popen[bytes]) -> None:
    """Twice 64 MiB, and two interpreters."""
    assert 128 * _MIB < (tree_bytes(holder.pid) or 0) < 256 * _MIB


def test_where_shares_cannot_be_read_resident_memory_is_told(
    holder: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shared counts in full then, so that it is not less."""
    shares, read = tree_bytes(holder.pid) or 0, replica_memory._read
    monkeypatch.setattr(replica_memory, "_read", lambda path: None if path.name == "smaps_rollup" else read(path))
    assert shares <= (tree_bytes(holder.pid) or 0) < 256 * _MIB


def test_a_process_that_is_not_ours_is_not_told() -> None:
    """As one that has the number of a replica that has ended."""
    assert tree_bytes(1) is None


def test_a_process_that_has_ended_is_not_told(holder: subprocess.Popen[bytes]) -> None:
    """Neither before nor after somebody has asked how it ended."""
    holder.kill()
    Path(f"/proc/{holder.pid}/status").read_text()
    holder.wait()
    assert tree_bytes(holder.pid) is None
