"""The synchronous client: the same answers, from any thread."""

import asyncio
import contextlib
import gc
import itertools
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from nasfeat_client import AsyncFeatureClient, FeatureClient, ModelNotFoundError
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Script, fake_classes, fake_outputs, fake_vector

PICTURES = [f"picture {number}".encode() for number in range(20)]
OUTPUTS = fake_outputs(b"picture")


@pytest.fixture
def client(threaded_server: FakeFeatureServer) -> Iterator[FeatureClient]:
    """Connect to it."""
    with FeatureClient(threaded_server.target) as connected:
        yield connected


def test_every_call(client: FeatureClient) -> None:
    """Each method gives what its asynchronous twin gives."""
    np.testing.assert_array_equal(client.extract(b"picture").vector, fake_vector(b"picture"))
    assert client.classify(b"picture", 3) == client.extract(b"picture", top_k=3).classes == fake_classes(b"picture", 3)
    np.testing.assert_array_equal(client.extract(b"picture", outputs=["Cell_0"]).outputs["Cell_0"], OUTPUTS["Cell_0"])
    assert [result.classes for result in client.extract_many([b"picture"], top_k=2)] == [fake_classes(b"picture", 2)]
    assert client.model() == FAKE_MODEL
    assert client.models() == (FAKE_MODEL,)
    for results in (client.extract_many(PICTURES), client.stream(PICTURES)):
        for picture, result in zip(PICTURES, results, strict=True):
            np.testing.assert_array_equal(result.vector, fake_vector(picture))
    with pytest.raises(ModelNotFoundError):
        client.model("vgg")


async def test_inside_a_running_loop(threaded_server: FakeFeatureServer) -> None:
    """A thread that runs an event loop may use it too."""
    assert asyncio.get_running_loop().is_running()
    with FeatureClient(threaded_server.target) as client:
        assert [result.ok for result in client.extract_many(PICTURES)] == [True] * 20


def test_many_threads_share_a_client(client: FeatureClient) -> None:
    """Calls and streams of several threads do not mix."""

    def vectors(number: int) -> bool:
        picture = f"of thread {number}".encode()
        streamed = [result.vector for result in client.extract_many([picture] * 10)]
        expected = fake_vector(picture)
        return all((vector == expected).all() for vector in (*streamed, client.extract(picture).vector))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(vectors, range(16)))


def test_leaving_a_stream_early(threaded_server: FakeFeatureServer, client: FeatureClient) -> None:
    """Closing the iterator ends the call and closes the source."""
    closed = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            yield from itertools.repeat(b"picture")
        finally:
            closed.set()

    with contextlib.closing(client.stream(endless())) as results:
        for result in results:
            if result.frame_id == 10:
                break
    assert closed.is_set()
    assert client.extract(b"picture").ok


def test_a_source_may_call_the_client(client: FeatureClient) -> None:
    """A generator of frames that itself asks the server does not block it."""
    pictures = (client.model().identity.name.encode() for _ in range(3))
    assert [result.ok for result in client.stream(pictures)] == [True] * 3


def test_ctrl_c_ends_a_wait(threaded_server: FakeFeatureServer, client: FeatureClient) -> None:
    """KeyboardInterrupt leaves a stream that gets no result, and the client works afterwards."""
    threaded_server.script = Script(gates={0: asyncio.Event()})

    def interrupting() -> Iterator[bytes]:
        yield b"picture"
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        yield b"picture"

    with pytest.raises(KeyboardInterrupt):
        list(client.stream(interrupting()))
    threaded_server.script = Script()
    assert client.extract(b"picture").ok


def test_a_closed_client(threaded_server: FakeFeatureServer) -> None:
    """Threads that wait when another closes get RuntimeError, as does every later call; closing again is fine."""
    threaded_server.script = Script(gates={0: asyncio.Event()})
    client = FeatureClient(threaded_server.target)
    asked = threading.Event()

    def telling() -> Iterator[bytes]:
        yield b"picture"
        asked.set()

    with ThreadPoolExecutor(2) as threads:
        waiting: list[Future[Any]] = [
            threads.submit(client.extract, b"picture"),
            threads.submit(list, client.stream(telling())),
        ]
        asked.wait()
        client.close()
        for future in waiting:
            with pytest.raises(RuntimeError, match="closed"):
                future.result()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.model()


def test_an_unused_client_starts_nothing() -> None:
    """A client that is made and closed has run no thread."""
    threads = threading.active_count()
    with FeatureClient() as client:
        assert threading.active_count() == threads
        assert "localhost:50051" in repr(client)
    assert threading.active_count() == threads


def test_a_forgotten_client_does_not_keep_its_program(threaded_server: FakeFeatureServer) -> None:
    """A program that ends with a client and an endless stream open ends, and says nothing of it."""
    program = (
        "import itertools, nasfeat_client\n"
        f"results = nasfeat_client.FeatureClient({threaded_server.target!r}).stream(itertools.repeat(b'picture'))\n"
        "assert next(results).ok\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_client_that_nobody_closes_says_so(threaded_server: FakeFeatureServer) -> None:
    """It ends by itself when it is collected, and its thread with it; one that was never used has nothing to say."""
    forgotten = FeatureClient(threaded_server.target)
    forgotten.extract(b"a")
    (thread,) = (thread for thread in threading.enumerate() if thread is forgotten._loop._thread)
    with pytest.warns(ResourceWarning, match="unclosed <FeatureClient of "):
        del forgotten
    thread.join(10)
    assert not thread.is_alive()
    FeatureClient(threaded_server.target)
    gc.collect()


async def test_an_async_client_that_nobody_closes_says_so(threaded_server: FakeFeatureServer) -> None:
    """Likewise."""
    forgotten = AsyncFeatureClient(threaded_server.target)
    await forgotten.extract(b"a")
    with pytest.warns(ResourceWarning, match="unclosed <AsyncFeatureClient "):
        del forgotten
    AsyncFeatureClient(threaded_server.target)
    gc.collect()
