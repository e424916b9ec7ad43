"""Waiting for one thing unless another comes first, and errors that leave a group of tasks as themselves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from nasfeat_server.errors import ConfigurationError

_T = TypeVar("_T")


@contextlib.asynccontextmanager
async def refusals_alone() -> AsyncIterator[None]:
    """Raise the reason not to start by itself, without the group that the tasks around it make of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _refusal(group) or group from None


def _refusal(group: BaseExceptionGroup[BaseException]) -> ConfigurationError | None:
    """Find the reason not to start among what ended the tasks, if that is what it was."""
    for error in group.exceptions:
        found = _refusal(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, ConfigurationError):
            return found
    return None


async def unless(stop: asyncio.Event, awaitable: Coroutine[Any, Any, _T]) -> _T | None:
    """Return what `awaitable` gives, or None as soon as `stop` is set."""
    async with refusals_alone(), asyncio.TaskGroup() as tasks:
        wanted = tasks.create_task(awaitable)
        stopped = tasks.create_task(stop.wait())
        await asyncio.wait((wanted, stopped), return_when=asyncio.FIRST_COMPLETED)
        result = wanted.result() if wanted.done() else None
        wanted.cancel()
        stopped.cancel()
    return result
