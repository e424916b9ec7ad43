"""The README tells the truth: its example runs, its options and metrics exist, and it stays short."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving import running

_ROOT = Path(__file__).parents[1]
_README = (_ROOT / "README.md").read_text()


async def test_the_python_example_runs_as_printed(tmp_path: Path) -> None:
    """The example, with nothing changed but the port, prints a line for each of its images."""
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / "photo.jpg")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:200])
    code = re.search(r"```python\n(.*?)```", _README, re.DOTALL)
    assert code
    async with running(variant="large") as app:
        example = code[1].replace("localhost:50051", str(app.listening))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", example, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        printed, errors = (text.decode() for text in await process.communicate())
    assert process.returncode == 0, errors
    lines = printed.splitlines()
    assert len(lines) == 12
    assert "truncated" in lines[1]


@pytest.mark.slow
def test_the_network_s_example_runs_as_printed() -> None:
    """The example for notebooks prints the shapes that it promises."""
    (code,) = re.findall(r"```python\n(.*?)```", (_ROOT / "docs" / "NETWORK.md").read_text(), re.DOTALL)
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "(2, 1056) (2, 7, 7, 1056)"


def test_every_option_named_exists() -> None:
    """Each `--option` of the table of server options is one of `nasfeat-server serve --help`."""
    program = Path(sys.executable).with_name("nasfeat-server")
    told = subprocess.run([program, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"^\| `(--[a-z-]+)", _README, re.MULTILINE))
    assert named
    assert all(option in told for option in named)


def test_every_option_of_the_command_s_page_exists() -> None:
    """Each `--option` of docs/COMMAND.md is one of the command's."""
    program = Path(sys.executable).with_name("nasfeat")
    commands = ("extract", "classify", "video", "model", "similar", "search", "timeline", "push", "load")
    helps = [
        subprocess.run([program, command, "--help"], capture_output=True, text=True, check=True) for command in commands
    ]
    told = " ".join(done.stdout for done in helps)
    page = (_ROOT / "docs" / "COMMAND.md").read_text()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page))
    assert len(named) > 15
    assert named <= set(re.findall(r"--[a-z][a-z-]+", told))
    assert set(re.findall(r"nasfeat ([a-z]+)", page)) <= {*commands}


async def test_every_metric_named_exists() -> None:
    """Each metric that the page names is in the server's registry."""
    named = {name.removesuffix("_total") for name in re.findall(r"`(nasfeat_[a-z_]+)[`{]", _README)}
    async with running() as app:
        there = {family.name for family in app._metrics.registry.collect()}
    assert len(named) >= 5
    assert named - {"nasfeat_client"} <= there


def test_the_readme_stays_short() -> None:
    """Under two hundred lines."""
    assert len(_README.splitlines()) < 200
