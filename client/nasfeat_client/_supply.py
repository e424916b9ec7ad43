"""A stream's frames, taken by one call after another."""

import asyncio
from collections.abc import AsyncGenerator

from nasfeat_client._source import PackedFrame


class Supply:
    """Hands out frames; whoever is cancelled while waiting for one leaves it to the next who asks."""

    def __init__(self, frames: AsyncGenerator[PackedFrame, None]) -> None:
        self._frames = frames
        self._coming: asyncio.Task[PackedFrame | None] | None = None

    async def take(self) -> PackedFrame | None:
        """Wait for the next frame; None at the end.

        Raises:
            Exception: what the source raised.
        """
        if not self._coming:
            self._coming = asyncio.create_task(self._next())
        packed = await asyncio.shield(self._coming)
        self._coming = None
        return packed

    async def close(self) -> None:
        """Close the source, once it is done with what it is busy with."""
        if self._coming:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
        await self._frames.aclose()

    async def _next(self) -> PackedFrame | None:
        return await anext(self._frames, None)
