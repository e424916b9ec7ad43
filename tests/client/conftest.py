"""A fake server and a client for it, for tests of the SDK."""

from collections.abc import AsyncIterator, Iterator

import pytest

from nasfeat_client import AsyncFeatureClient
from nasfeat_client._loop import LoopThread
from nasfeat_client.testing import FakeFeatureServer


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
