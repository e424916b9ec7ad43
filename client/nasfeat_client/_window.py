"""How many frames of a stream may be in flight: the server says, and may change it."""

import asyncio


class Window:
    """Counts the frames in flight; one task waits for room.

    Attributes:
        size: frames that may be in flight now.
        in_flight: frames that are.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.in_flight = 0
        self._room: asyncio.Future[None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether `enter` would not wait."""
        return self.in_flight < self.size

    async def enter(self) -> None:
        """Wait for room for one more frame, and take it."""
        while not self.has_room:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        self.in_flight += 1

    def leave(self) -> None:
        """Give a frame's room back."""
        self.in_flight -= 1
        self._wake()

    def resize(self, size: int) -> None:
        """Allow `size` frames from now on; those in flight stay."""
        self.size = size
        self._wake()

    def _wake(self) -> None:
        if self._room and not self._room.done() and self.has_room:
            self._room.set_result(None)
