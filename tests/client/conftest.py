"""A fake server and a client for it, for tests of the SDK; and the command."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from nasfeat_client import AsyncFeatureClient
from nasfeat_client._loop import LoopThread
from nasfeat_client.cli import run
from nasfeat_client.testing import FakeFeatureServer

Nasfeat = Callable[..., tuple[int, str, str]]


@pytest.fixture
async def server() -> AsyncIterator[FakeFeatureServer]:
    """Run a fake server."""
    async with FakeFeatureServer() as running:
        yield running


@pytest.fixture
async def client(server: FakeFeatureServer) -> AsyncIterator[AsyncFeatureClient]:
    """Connect to it."""
    async with AsyncFeatureClient(server.target) as connected:
        yield connected


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    """Run an event loop in another thread."""

    async def nothing() -> None:
        pass

    loop = LoopThread(nothing)
    yield loop
    loop.close()


@pytest.fixture
def threaded_server(loop_thread: LoopThread) -> Iterator[FakeFeatureServer]:
    """Run a fake server there, so that this thread may block."""
    server = FakeFeatureServer()
    loop_thread.run(server.__aenter__)
    yield server
    loop_thread.run(server.stop)


@pytest.fixture
def nasfeat(
    threaded_server: FakeFeatureServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Nasfeat:
    """Run the command in an empty folder with the fake server for its target; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASFEAT_TARGET", threaded_server.target)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nasfeat", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    for name in ("a", "b", "c"):
        Path(f"{name}.jpg").write_bytes(name.encode())
    return command
