"""When to open a lost stream again, and when to give it up."""

import random
import time
from collections.abc import Callable

from nasfeat_client.config import ResumeConfig


class Patience:
    """Counts the attempts since a stream last got an answer.

    Args:
        config: how long, and how often.
        clock: the time in seconds.
        draw: a number from 0 to 1: clients that lost the same server do not come back as one.
    """

    def __init__(
        self,
        config: ResumeConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._clock = clock
        self._draw = draw
        self._lost_at: float | None = None
        self.attempts = 0

    @property
    def waited_s(self) -> float:
        """Seconds since the first attempt was asked for."""
        return 0.0 if self._lost_at is None else self._clock() - self._lost_at

    def restore(self) -> None:
        """Note that an answer has come: the next loss is a new one."""
        self._lost_at = None
        self.attempts = 0

    def next_pause_s(self) -> float | None:
        """Give the seconds to wait before the next attempt; None if there is to be none."""
        if self._lost_at is None:
            self._lost_at = self._clock()
        config = self._config
        # The exponent is bounded: so many doublings are no number any more.
        longest = min(config.longest_pause_s, config.first_pause_s * 2.0 ** min(self.attempts, 32))
        pause_s = longest * (0.5 + 0.5 * self._draw())
        if self.waited_s + pause_s > config.give_up_after_s:
            return None
        self.attempts += 1
        return pause_s
