"""Orders of an operator about the model: one at a time, and what comes of each is told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nasfeat_server.errors import ReloadError
from nasfeat_server.telemetry.events import Observer, ReloadFinished

_log = logging.getLogger(__name__)


class Order:
    """The turn of one order; a second one meanwhile is refused.

    Args:
        turn: held by the order that is being carried out.
        outcome: what is told if it could be.
        observer: told of its end.
        settled: returns when calls find what the order has changed.
    """

    def __init__(
        self, turn: asyncio.Lock, outcome: str, *, observer: Observer, settled: Callable[[], Awaitable[None]]
    ) -> None:
        self._turn = turn
        self._outcome = outcome
        self._observer = observer
        self._settled = settled

    async def __aenter__(self) -> None:
        """Begin.

        Raises:
            ReloadError: another one is being carried out.
        """
        if self._turn.locked():
            raise ReloadError("another order about the model is being carried out; wait for its end")
        await self._turn.acquire()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """End, once calls find what it has changed."""
        try:
            if not kind:
                await self._settled()
        finally:
            self._turn.release()
        if error:
            _log.warning("the order about the model failed: %s", error)
        self._observer.observe(ReloadFinished(outcome="failed" if kind else self._outcome))
