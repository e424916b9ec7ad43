"""The windows of all streams: how many frames each may have in flight, adjusted to who uses what."""

import asyncio
from collections.abc import Callable

from nasfeat_server.scheduling.credits import Claim, Shares, is_news, share_credits, share_of_newcomer

_PERIOD_S = 1.0


class Window:
    """One stream's window; it has one reader.

    Attributes:
        size: frames that may be in flight now.
        ceiling: the most that it will ever be.
        weight: the stream's share beside the others.
        adjustable: the size follows the load.
        in_flight: frames read and not yet answered, and the one that may be read next.
    """

    def __init__(self, *, ceiling: int, weight: float, adjustable: bool = True) -> None:
        """Start with as much as the stream may ever have."""
        self.adjustable = adjustable
        self.size = ceiling
        self.ceiling = ceiling
        self.weight = weight
        self.in_flight = 0
        self._peak = 0
        self._room: asyncio.Future[None] | None = None

    async def enter(self) -> None:
        """Wait for room for one more frame, and take it."""
        while self.in_flight >= self.size:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)

    def leave(self) -> None:
        """Give the room of an answered frame back."""
        self.in_flight -= 1
        self._wake()

    def resize(self, size: int) -> None:
        """Allow `size` frames from now on; the ones in flight stay."""
        self.size = size
        self._wake()

    def claim(self) -> Claim:
        """Say what the stream could use, by what it used since the last `measure`."""
        return Claim(window=self.size, ceiling=self.ceiling, weight=self.weight, peak=self._peak)

    def measure(self) -> None:
        """Look anew from now on at how much the stream uses."""
        self._peak = self.in_flight

    def report(self) -> tuple[int, int]:
        """Tell the most frames in flight since the last report, and those of now, to `heard` of another process."""
        peak = self._peak
        self.measure()
        return peak, self.in_flight

    def heard(self, peak: int, in_flight: int) -> None:
        """Note what the process that reads the stream has reported of this window."""
        self._peak = max(self._peak, peak)
        self.in_flight = in_flight

    def _wake(self) -> None:
        if self._room and not self._room.done() and self.in_flight < self.size:
            self._room.set_result(None)


class WindowKeeper:
    """Shares the arena's slots out among the streams, once a second and whenever one opens.

    Args:
        budget: the slots.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._listeners: dict[Window, Callable[[int], None]] = {}
        self._shares: Shares | None = None
        self._newcomers = 0

    def open(self, *, ceiling: int, weight: float, announce: Callable[[int], None], adjustable: bool = True) -> Window:
        """Grant a new stream what there is for it beside the others.

        Args:
            ceiling: the most that it asked for and may have.
            weight: its share.
            announce: told of every later change.
            adjustable: False for a stream that gives frames up instead of waiting: it must be read all the time, and
                its backlog, not its window, bounds the slots that it holds.
        """
        window = Window(ceiling=ceiling, weight=weight, adjustable=adjustable)
        # It has used nothing yet, and may be about to use all it gets.
        claim = Claim(window=ceiling, ceiling=ceiling, weight=weight, peak=ceiling)
        size = self._share_of(claim)
        if adjustable:
            window.size = size
        self._listeners[window] = announce
        return window

    async def grant(
        self, *, ceiling: int, weight: float, announce: Callable[[int], None], adjustable: bool = True
    ) -> Window:
        """Do as `open` does, without a turn of the loop; stand-ins in other processes take some."""
        return self.open(ceiling=ceiling, weight=weight, announce=announce, adjustable=adjustable)

    @property
    def count(self) -> int:
        """Streams that are open."""
        return len(self._listeners)

    def _share_of(self, newcomer: Claim) -> int:
        """Share out anew only when an eighth more streams are there than the last time: many may come at once."""
        self._newcomers += 1
        if self._shares and self._newcomers * 8 <= len(self._listeners):
            size, self._shares = share_of_newcomer(self._shares, newcomer)
            return size
        self._shares = share_credits(self._budget, [*(window.claim() for window in self._listeners), newcomer])
        self._newcomers = 0
        return self._shares.windows[-1]

    def close(self, window: Window) -> None:
        """Forget a stream; the others get what it had at the next adjustment."""
        del self._listeners[window]

    def adjust(self) -> None:
        """Give every stream its part of the slots by what it used since the last time."""
        windows = tuple(self._listeners)
        self._shares, self._newcomers = share_credits(self._budget, [window.claim() for window in windows]), 0
        for window, size in zip(windows, self._shares.windows, strict=True):
            window.measure()
            if window.adjustable and is_news(size, window.size):
                window.resize(size)
                self._listeners[window](size)

    async def run(self) -> None:
        """Adjust the windows until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.adjust()
