"""What `nasfeat-server` says where the libraries of the server are missing."""

import subprocess
import sys

import pytest

# As after `pip install 'nasfeat[cli]'`, which brings click and nothing of the server's.
_WITHOUT = """
import sys
sys.modules["grpc_health"] = None
from nasfeat_server.cli import run
run()
"""


@pytest.mark.parametrize("arguments", [(), ("serve",), ("health",), ("--help",)])
def test_a_missing_library_is_told_with_what_brings_it(arguments: tuple[str, ...]) -> None:
    """One line with the extra to install and what is missing, exit code 1, and no traceback."""
    done = subprocess.run([sys.executable, "-c", _WITHOUT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: nasfeat-server needs the server extra: pip install 'nasfeat[server]'")
    assert "grpc_health" in done.stderr
    assert "Traceback" not in done.stderr
