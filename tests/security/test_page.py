"""SECURITY.md tells the truth: its commands run, its files are understood, the tests that it names exist."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nasfeat_server.security.tokens import new_token, parse_tokens, written
from programs import FAKE, RunningServer, run_client, start_server

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "SECURITY.md").read_text()
_COMMANDS = re.findall(r"```sh\n(.*?)```", _PAGE, re.DOTALL)
_USES = re.findall(r"```\n(nasfeat-server serve .*)\n(nasfeat .*)\n```", _PAGE)


async def _started(command: str) -> RunningServer:
    _, _, *options = command.split()
    return await start_server(*options, *FAKE)


@pytest.mark.skipif(not shutil.which("openssl"), reason="the page's commands are openssl's")
@pytest.mark.slow
async def test_the_commands_make_what_server_and_client_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block in its order, and then each pair of server and client with the files that they made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    script = "set -eu\n" + "\n".join(_COMMANDS)
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(_USES) == 3
    for serve, ask in _USES:
        running = await _started(serve)
        _, *arguments = ask.split()
        port = running.listening.rpartition(":")[2]
        code, printed, complained = await run_client(*(part.replace("50051", port) for part in arguments))
        assert (code, complained) == (0, "")
        assert "fake_nasnet_cifar" in printed
        # What the pair is about is asked for: without its files the client is not let in.
        code, _, _ = await run_client(*("model", "--target", f"localhost:{port}"))
        assert code != 0
        running.process.terminate()
        assert await running.process.wait() == 0


def test_the_file_of_tenants_is_understood() -> None:
    """With hashes in the places of the dots."""
    (text,) = re.findall(r"```toml\n(.*?)```", _PAGE, re.DOTALL)
    table = parse_tokens(re.sub("sha256:…", lambda _: written(new_token()), text).encode())
    assert list(table.quotas) == ["cameras", "batch-jobs"]
    assert len(table.owners) == 3


def test_the_tests_that_it_names_exist() -> None:
    """Each is a file below tests/."""
    named = re.findall(r"`([a-z]+/test_\w+\.py)`", _PAGE)
    assert len(named) > 15
    assert [name for name in named if not (_ROOT / "tests" / name).is_file()] == []
