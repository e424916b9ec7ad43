"""The peers' virtual environments: made with pinned versions the first time, used again as long as the pins stay."""

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from peers.catalogue import BUILD

_REQUIREMENTS = Path(__file__).with_name("requirements")
# Triton's stub is linked to libpython3.11, which Pythons that were built without a shared library do not have.
_DEBIANS = Path("/usr/bin/python3.11")
_LIBRARY = "libpython3.11.so.1.0"


class MissingError(Exception):
    """A peer cannot be installed here; the message says why."""


def pins(name: str) -> tuple[str, ...]:
    """List the pinned requirements of an environment, as "name==version"."""
    lines = (_REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


async def provide(name: str) -> None:
    """Make the environment `name` below build/peers, unless it is there with these pins.

    Raises:
        MissingError: it cannot be made.
    """
    directory, wanted = BUILD / name, "\n".join(pins(name))
    # An environment does not move: its programs name the directory it was made in.
    digest = hashlib.sha256(f"{directory}\n{wanted}".encode()).hexdigest()
    stamp = directory / "made"
    if stamp.exists() and stamp.read_text() == digest:
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    python = _python_for(name)
    await _run((python, "-m", "venv", str(directory / "venv")))
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement")
    await _run((str(directory / "venv/bin/python"), *install, str(_REQUIREMENTS / f"{name}.txt")))
    stamp.write_text(digest)


def _python_for(name: str) -> str:
    if name != "triton":
        return sys.executable
    if not _DEBIANS.exists():
        raise MissingError(f"it needs {_DEBIANS}: Triton's stub is linked to {_LIBRARY}")
    found = subprocess.run(("/sbin/ldconfig", "-p"), capture_output=True, text=True, check=False).stdout
    if _LIBRARY not in found:
        raise MissingError(f"it needs {_LIBRARY}: apt-get install libpython3.11")
    return str(_DEBIANS)


async def _run(command: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        said = [line for line in output.decode(errors="replace").splitlines() if line and "WARNING" not in line]
        raise MissingError("; ".join(said[-3:]) or f"{command[0]} ended with {process.returncode}")
