"""Admission: an image may be decoded when it holds one of the arena's slots."""

import asyncio
from collections import deque
from collections.abc import Callable

from nasfeat_server.errors import OverloadedError


class SlotPool:
    """The free slots of the arena, given out first come, first served.

    A stream reads its next frame only after the one before has a slot, so every stream has at most one place in the
    line and a flood on one stream cannot push the others back.
    """

    def __init__(self, capacity: int) -> None:
        """Start with slots 0 to `capacity` - 1 free."""
        self.capacity = capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._waiters: deque[asyncio.Future[int]] = deque()

    def __repr__(self) -> str:
        """Show how full the pool is."""
        return f"<SlotPool {self.in_use}/{self.capacity} in use, {self.waiting} waiting>"

    @property
    def in_use(self) -> int:
        """Slots that are taken."""
        return self.capacity - len(self._free)

    @property
    def waiting(self) -> int:
        """Callers in the line."""
        return len(self._waiters)

    async def acquire(self, *, max_waiting: int | None = None, retry_after_s: Callable[[], float] = lambda: 1.0) -> int:
        """Wait for a slot.

        Args:
            max_waiting: callers that may be in the line.
            retry_after_s: estimates when it is worth while to come again.

        Raises:
            OverloadedError: `max_waiting` callers or more are in the line already.
        """
        if self._free:
            return self._free.pop()
        waiter = self.line_up(max_waiting=max_waiting, retry_after_s=retry_after_s)
        try:
            return await waiter
        except asyncio.CancelledError:
            self.leave_line(waiter)
            raise

    def line_up(
        self, *, max_waiting: int | None = None, retry_after_s: Callable[[], float] = lambda: 1.0
    ) -> asyncio.Future[int]:
        """Take a place in the line; what is returned is done when a slot has come, at once if one is free.

        Whoever does not want it any more must say so with `leave_line`, or give the slot back.

        Raises:
            OverloadedError: as `acquire` does.
        """
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self._free:
            waiter.set_result(self._free.pop())
            return waiter
        if max_waiting is not None and self.waiting >= max_waiting:
            raise OverloadedError(
                f"all {self.capacity} slots are taken and {self.waiting} images wait for one, "
                f"the limit is {max_waiting}; try again later",
                retry_after_s=retry_after_s(),
            )
        self._waiters.append(waiter)
        return waiter

    def leave_line(self, waiter: asyncio.Future[int]) -> None:
        """Give up a place in the line, or the slot that has come meanwhile."""
        # A slot can arrive in the same turn of the loop in which its waiter is cancelled: pass it on.
        if waiter.done() and not waiter.cancelled():
            self.release(waiter.result())
        elif waiter in self._waiters:
            self._waiters.remove(waiter)

    def release(self, slot: int) -> None:
        """Give `slot` to the next in the line, or back to the pool."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        self._free.append(slot)
