"""Programs that check what deploys the server."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def check(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a checker, which must have no complaints; give what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def from_wheel(program: str) -> Path:
    """Find a program that came as a wheel: beside the interpreter."""
    return Path(sys.executable).with_name(program)


def installed(program: str, tool: str = "prometheus") -> str:
    """Find a program, or skip the test; continuous integration must have it.

    Args:
        program: its name.
        tool: what scripts/install_system_tools.sh installs it by.
    """
    found = shutil.which(program)
    if not found:
        reason = f"{program} is missing: scripts/install_system_tools.sh {tool}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
