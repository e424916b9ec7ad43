"""Leaving a stream, in every way there is, ends its call, closes its source and leaves no task."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from nasfeat_client import AsyncFeatureClient
from nasfeat_client.testing import FakeFeatureServer, Script


class Source:
    """An endless source that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def frames(self) -> Iterator[bytes]:
        """Give frames until closed."""
        try:
            for number in itertools.count():
                yield str(number).encode()
        finally:
            self.closed.set()

    async def async_frames(self) -> AsyncIterator[bytes]:
        """Give frames until closed, to asynchronous callers."""
        try:
            for number in itertools.count():
                yield str(number).encode()
        finally:
            self.closed.set()


@pytest.fixture(params=["frames", "async_frames"])
def source(request: pytest.FixtureRequest) -> tuple[Source, Iterator[bytes]]:
    """Make a source of either kind, with its iterator."""
    made = Source()
    return made, getattr(made, request.param)()


async def assert_all_over(server: FakeFeatureServer, source: Source, tasks_before: set[asyncio.Task[object]]) -> None:
    """The source is closed, the server's stream ended, and none of the SDK's tasks is left."""
    assert source.closed.is_set()
    await server.seen.streams_closed()
    left = {task for task in asyncio.all_tasks() - tasks_before if "nasfeat_client/_s" in repr(task)}
    assert left == set()


async def test_closing_the_iterator(
    server: FakeFeatureServer, client: AsyncFeatureClient, source: tuple[Source, Iterator[bytes]]
) -> None:
    """`aclosing` ends everything by the end of its block."""
    before = asyncio.all_tasks()
    async with contextlib.aclosing(client.stream(source[1])) as results:
        async for result in results:
            if result.frame_id == 10:
                break
    await assert_all_over(server, source[0], before)


async def test_breaking_out_of_the_loop(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """A bare `break` does the same, soon after."""
    source = Source()
    async for result in client.stream(source.frames()):
        if result.frame_id == 10:
            break
    await asyncio.to_thread(source.closed.wait)
    await server.seen.streams_closed()


async def test_cancelling_the_task_while_it_waits_for_a_result(
    server: FakeFeatureServer, client: AsyncFeatureClient, source: tuple[Source, Iterator[bytes]]
) -> None:
    """The window is full and no result comes; the cancelled task ends with CancelledError and leaves nothing."""
    server.script = Script(gates={3: asyncio.Event()})
    before = asyncio.all_tasks()
    third = asyncio.Event()

    async def consume() -> None:
        async for result in client.stream(source[1]):
            if result.frame_id == 2:
                third.set()

    task = asyncio.create_task(consume())
    await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_all_over(server, source[0], before)


async def test_cancelling_while_a_source_blocks_waits_for_its_item(
    server: FakeFeatureServer, client: AsyncFeatureClient
) -> None:
    """A plain iterable is not abandoned in the middle of an item: it is closed after it, and only then is all over."""
    asked, give = threading.Event(), threading.Event()
    source = Source()

    def slow() -> Iterator[bytes]:
        try:
            yield b"first"
            asked.set()
            give.wait()
            yield b"second"
        finally:
            source.closed.set()

    before = asyncio.all_tasks()
    results = client.stream(slow())
    await anext(results)
    await asyncio.to_thread(asked.wait)
    leaving = asyncio.create_task(results.aclose())
    await server.seen.streams_closed()
    assert not leaving.done()
    give.set()
    await leaving
    await assert_all_over(server, source, before)


async def test_cancelling_before_the_grant(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """A stream cancelled at any step of its opening leaves neither call nor task."""
    before = asyncio.all_tasks()
    for steps in range(30):
        # A loop that was busy may have come as far as the first result: then there is a stream to leave.
        async with contextlib.aclosing(client.stream(Source().frames())) as results:
            task = asyncio.ensure_future(anext(results))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await server.seen.streams_closed()
    assert {task for task in asyncio.all_tasks() - before if "nasfeat_client/_s" in repr(task)} == set()


async def test_a_cancelled_call_leaves_the_client_usable(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """Cancelling a unary call is the caller's CancelledError, and the next call works."""
    server.script = Script(gates={0: asyncio.Event()})
    task = asyncio.create_task(client.extract(b"picture"))
    await client.model()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.script = Script()
    assert (await client.extract(b"picture")).ok


async def test_a_server_that_dies_closes_the_source(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """A stream that fails leaves as little as one that is left."""
    source = Source()
    before = asyncio.all_tasks()
    server.script = Script(results_before_end=3)
    with contextlib.suppress(Exception):
        async for _ in client.stream(source.frames()):
            pass
    await assert_all_over(server, source, before)
