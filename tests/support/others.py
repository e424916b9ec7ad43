"""Programs that run as nobody: found an interpreter that they may run."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534


@functools.cache
def interpreter() -> str | None:
    """Find a Python of this version that others than root may run, with all that this one can import."""
    if os.geteuid() != 0:
        return None
    for candidate in (sys.executable, "/usr/bin/python3"):
        try:
            program = "import sys, nasfeat_server.app; print(sys.version_info[:2])"
            done = subprocess.run(
                [candidate, "-c", program],
                user=NOBODY,
                group=NOBODY,
                extra_groups=(),
                env=environment(),
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:
            continue
        if done.stdout.strip() == str(sys.version_info[:2]):
            return candidate
    return None


def server_program() -> tuple[str, ...]:
    """Give the command `nasfeat-server` for that interpreter."""
    return (interpreter() or "", "-c", "from nasfeat_server.cli import run; run()")


def environment() -> dict[str, str]:
    """Give what lets that interpreter find the packages that this one has, its standard library excepted."""
    paths = (path for path in sys.path if path and not Path(path).is_relative_to(sys.base_prefix))
    return {"PYTHONPATH": os.pathsep.join(paths), "PATH": os.defpath}


needs_root = pytest.mark.skipif(
    interpreter() is None, reason="only root can become somebody else, who must have an interpreter to run"
)
