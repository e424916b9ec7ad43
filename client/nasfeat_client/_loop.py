"""An event loop in a thread of its own, for callers that have none or are busy on theirs."""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, ParamSpec, TypeVar

from nasfeat_client._forks import forked, note_use
from nasfeat_client._pool import CLOSED

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Job(Generic[_T]):
    """A coroutine for the loop; its methods run there, and another thread waits for `ended`."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        self._call = call
        self._task: asyncio.Task[_T] | None = None
        self.ended: Future[asyncio.Task[_T]] = Future()

    def start(self) -> None:
        self._task = asyncio.create_task(self._call())
        self._task.add_done_callback(self.ended.set_result)

    def cancel(self) -> None:
        if self._task:
            self._task.cancel()


class LoopThread:
    """Runs coroutines for any thread, which waits for them; the loop starts with the first one.

    Args:
        farewell: awaited in the loop when it closes.
    """

    def __init__(self, farewell: Callable[[], Awaitable[None]]) -> None:
        self._farewell = farewell
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._closed = False
        self._jobs: set[_Job[Any]] = set()

    def run(self, function: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Await `function(...)` in the loop; an exception here, like Ctrl-C, cancels it there and waits until it ended.

        Raises:
            RuntimeError: this is closed, or was meanwhile, or the process was forked.
        """

        async def call() -> _T:
            return await function(*args, **kwargs)

        job = _Job(call)
        with self._lock:
            loop = self._started()
            self._jobs.add(job)
            loop.call_soon_threadsafe(job.start)
        try:
            task = job.ended.result()
        except BaseException:
            if not job.ended.done():
                loop.call_soon_threadsafe(job.cancel)
                job.ended.result()
            raise
        finally:
            self._jobs.discard(job)
        if task.cancelled():
            raise RuntimeError(CLOSED)
        return task.result()

    def close(self) -> None:
        """Say farewell, cancel what runs, end the thread and wait for it; may be called again."""
        if forked():
            # The thread is in the parent, and so is the connection.
            return
        with self._lock:
            if self._loop and self._thread and not self._closed:
                self._loop.call_soon_threadsafe(self._stop.set)
            self._closed = True
        if self._thread:
            self._thread.join()
        atexit.unregister(self.close)
        for job in tuple(self._jobs):
            # It came too late for the loop to start it.
            if not job.ended.done():
                job.ended.set_exception(RuntimeError(CLOSED))

    @property
    def running(self) -> bool:
        """Whether there is a thread that nobody has ended."""
        return self._thread is not None and not (self._closed or forked())

    def forget(self) -> None:
        """End the thread without waiting for it: for callers that must not wait."""
        with self._lock:
            if self._loop and not self._closed:
                self._loop.call_soon_threadsafe(self._stop.set)
            self._closed = True

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise RuntimeError(CLOSED)
        note_use()
        if not self._loop:
            started: Future[asyncio.AbstractEventLoop] = Future()
            # A daemon: a client that was never closed must not keep its program from ending.
            self._thread = threading.Thread(target=self._serve, args=(started,), name="nasfeat-client", daemon=True)
            self._thread.start()
            # Later, when a generator that was left open is collected, the thread would be gone without a word.
            atexit.register(self.close)
            self._loop = started.result()
        return self._loop

    def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        async def until_stopped() -> None:
            started.set_result(asyncio.get_running_loop())
            await self._stop.wait()
            await self._farewell()

        asyncio.run(until_stopped())
