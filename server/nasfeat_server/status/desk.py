"""Where browsers hand pictures in: from the threads of the HTTP server to the event loop and back."""

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from nasfeat_server.config import RequestLimits
from nasfeat_server.errors import ExecutionFailedError, NasfeatError, OverloadedError, ShuttingDownError
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.rpc.trial import Trial, try_picture
from nasfeat_server.security.tenants import Caller

_log = logging.getLogger(__name__)

# Pictures that browsers send, or wait for, at once: each may hold as much memory as the largest image.
_SEATS = 4
_PATIENCE_S = 30.0
# How often it is looked whether a browser still waits.
_LOOK_S = 0.2


class Desk:
    """Takes pictures while the server takes calls, a few at once.

    Args:
        catalog: has the versions of the model.
        limits: what a request may ask for.
    """

    def __init__(self, catalog: Catalog, limits: RequestLimits) -> None:
        self._catalog = catalog
        self._limits = limits
        self._seats = threading.BoundedSemaphore(_SEATS)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: set[asyncio.Task[Trial | NasfeatError]] = set()
        self._stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether the server takes no new work."""
        return self._stopping

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Take pictures from now on; `tasks` works on them."""
        self._loop, self._tasks = asyncio.get_running_loop(), tasks

    def drain(self) -> None:
        """Take no new pictures."""
        self._stopping = True

    async def close(self, grace_s: float) -> None:
        """Wait so long for the pictures that are under way, then give them up."""
        self.drain()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=grace_s)
            for task in late:
                task.cancel()

    @contextlib.contextmanager
    def seat(self) -> Iterator[None]:
        """Let a picture in, for as long as the context lasts; to be entered before it is read.

        Raises:
            OverloadedError: there are as many as there may be.
        """
        if not self._seats.acquire(blocking=False):
            raise OverloadedError(f"{_SEATS} pictures are being tried, which is the limit; try again later")
        try:
            yield
        finally:
            self._seats.release()

    def compute(self, picture: bytes, caller: Caller | None, is_given_up: Callable[[], bool]) -> Trial | None:
        """Compute the features of a picture, from a thread that may wait.

        Args:
            picture: a file.
            caller: whose quota it is charged to.
            is_given_up: whether nobody waits for it any more; asked now and then.

        Returns:
            What came of it; None if nobody waits any more.

        Raises:
            NasfeatError: nothing came of it.
        """
        loop, _ = self._behind()
        waiting = asyncio.run_coroutine_threadsafe(self._answer(picture, caller), loop)
        while not is_given_up():
            done, _ = concurrent.futures.wait((waiting,), timeout=_LOOK_S)
            if done:
                return _result(waiting)
        waiting.cancel()
        return None

    def _behind(self) -> tuple[asyncio.AbstractEventLoop, asyncio.TaskGroup]:
        if self._stopping or not (self._catalog.served and self._loop and self._tasks):
            raise _closed(stopping=self._stopping)
        return self._loop, self._tasks

    async def _answer(self, picture: bytes, caller: Caller | None) -> Trial:
        _, tasks = self._behind()
        task = tasks.create_task(self._settle(picture, caller))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        outcome = await task
        if isinstance(outcome, NasfeatError):
            raise outcome
        return outcome

    async def _settle(self, picture: bytes, caller: Caller | None) -> Trial | NasfeatError:
        """Give what came of a picture, errors too: one that left this would end the server's other tasks."""
        try:
            return await try_picture(
                picture, catalog=self._catalog, limits=self._limits, caller=caller, timeout_s=_PATIENCE_S
            )
        except NasfeatError as error:
            return error
        except Exception:  # noqa: BLE001 - whatever it is, the browser is answered and the log has the trace
            _log.exception("a picture could not be tried")
            return ExecutionFailedError("the server failed on this picture; its log says why")


def _closed(*, stopping: bool) -> ShuttingDownError:
    return ShuttingDownError("the server is stopping" if stopping else "the server has no model loaded yet")


def _result(waiting: concurrent.futures.Future[Trial]) -> Trial:
    try:
        return waiting.result()
    except concurrent.futures.CancelledError:
        raise _closed(stopping=True) from None
