"""What `AsyncFeatureClient.stream` returns: results to iterate over, and what the server says of the stream."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Self

from nasfeat_client._window import Window
from nasfeat_client.result import Result
from nasfeat_client.types import StreamGrant, StreamSummary


@dataclass(slots=True, kw_only=True)
class Told:
    """What has been said of a stream so far."""

    grant: StreamGrant | None = None
    window: Window | None = None
    summary: StreamSummary | None = None
    resumptions: int = 0
    granted: asyncio.Event = field(default_factory=asyncio.Event)


class AsyncResultStream:
    """The results of one stream, an asynchronous iterator that can be run through once.

    It opens the stream when its first result is asked for. Leave it with `aclose`, or use `contextlib.aclosing`.
    """

    def __init__(self, results: AsyncGenerator[Result, None], told: Told) -> None:
        self._results = results
        self._told = told

    def __repr__(self) -> str:
        window = f"{self._told.window.in_flight}/{self.window} in flight" if self._told.window else "not granted"
        return f"<{type(self).__name__} {window}{' ended' * (self.summary is not None)}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        return await anext(self._results)

    async def aclose(self) -> None:
        """End the call and close the source of its frames; may be called again."""
        await self._results.aclose()

    @property
    def grant(self) -> StreamGrant | None:
        """What the server granted, when it was opened last; None before the first result."""
        return self._told.grant

    @property
    def window(self) -> int | None:
        """The frames that may be in flight now, which the server adjusts to its load; None before the first result."""
        return self._told.window.size if self._told.window else None

    @property
    def summary(self) -> StreamSummary | None:
        """What became of all frames, after the last result; None before, and from servers that send none.

        Of a stream that was resumed it is what its last call brought.
        """
        return self._told.summary

    @property
    def resumptions(self) -> int:
        """How often the stream has been opened again after its server was lost."""
        return self._told.resumptions
