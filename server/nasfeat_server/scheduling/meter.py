"""Carries out what `quota` decides for one tenant: frames pass at its rate, first come, first served."""

import asyncio
import contextlib
from collections import deque

from nasfeat_server.scheduling import quota
from nasfeat_server.scheduling.quota import Bucket, Rate


class Meter:
    """Lets a tenant's frames through, whichever of its calls brought them.

    Attributes:
        admitted: frames that were let through and then took a slot.
        held_back: frames that had to wait, or were refused, because the tenant was above its rate.
    """

    def __init__(self, rate: Rate | None) -> None:
        """Start with a full bucket; without a `rate`, count alone."""
        self.admitted = 0
        self.held_back = 0
        self._bucket = None if rate is None else Bucket(rate=rate)
        self._line: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        """Show how much has been admitted and who waits."""
        return f"<Meter {self.admitted} admitted, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Frames in the line."""
        return len(self._line)

    @property
    def per_second(self) -> float | None:
        """The rate in force, in frames a second; None if there is no limit."""
        return None if self._bucket is None else self._bucket.rate.per_second

    def ready_in_s(self) -> float:
        """Estimate the seconds until a frame that came now would pass."""
        if self._bucket is None:
            return 0.0
        due_in_s = quota.due_at(self._bucket) - asyncio.get_running_loop().time()
        return max(0.0, due_in_s + self.waiting / self._bucket.rate.per_second)

    def pass_now(self) -> bool:
        """Let one frame through if it need not wait."""
        if not self._line and self._take(asyncio.get_running_loop().time()):
            return True
        self.held_back += 1
        return False

    async def pass_at_once(self) -> bool:
        """Do as `pass_now` does, without a turn of the loop; stand-ins in other processes take some."""
        return self.pass_now()

    def line_up(self) -> asyncio.Future[None]:
        """Take the last place in the line of one that could not pass; done when it is let through."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._wait_for_the_next()
        return turn

    def leave_line(self, turn: asyncio.Future[None]) -> None:
        """Give up a place, or what came of it."""
        if turn.done() and not turn.cancelled():
            self.give_back()
        else:
            with contextlib.suppress(ValueError):
                self._line.remove(turn)

    async def pass_in_turn(self) -> None:
        """Let one frame through when it is due."""
        if self.pass_now():
            return
        turn = self.line_up()
        try:
            await turn
        except asyncio.CancelledError:
            self.leave_line(turn)
            raise

    def admit(self) -> None:
        """Count a frame that was let through and then took a slot."""
        self.admitted += 1

    def give_back(self) -> None:
        """Take one frame back that was let through and went no further."""
        if self._bucket is not None:
            self._bucket = quota.after_return(self._bucket)
            self._serve(asyncio.get_running_loop().time())

    def change(self, rate: Rate | None) -> None:
        """Go on at another rate; who waits for the old one waits for the new one."""
        now = asyncio.get_running_loop().time()
        if rate is None or self._bucket is None:
            self._bucket = None if rate is None else Bucket(rate=rate)
        else:
            self._bucket = quota.after_change(self._bucket, rate, now)
        self._serve(now)

    def _take(self, now: float) -> bool:
        if self._bucket is not None:
            if now < quota.due_at(self._bucket):
                return False
            self._bucket = quota.after_frame(self._bucket, now)
        return True

    def _wait_for_the_next(self) -> None:
        if self._line and self._bucket is not None and self._timer is None:
            due_at = quota.due_at(self._bucket)
            self._timer = asyncio.get_running_loop().call_at(due_at, self._due, due_at)

    def _due(self, due_at: float) -> None:
        # The loop may call by the resolution of its clock too early.
        self._serve(max(due_at, asyncio.get_running_loop().time()))

    def _serve(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._line:
            if self._line[0].done():
                self._line.popleft()
            elif self._take(now):
                self._line.popleft().set_result(None)
            else:
                break
        self._wait_for_the_next()
