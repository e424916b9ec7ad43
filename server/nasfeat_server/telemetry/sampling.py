"""Which calls and images are traced: as clients decide, a part of what they leave open, and never too many."""

import random
import time
from collections.abc import Callable


class Sampler:
    """Decides, and keeps to its limit.

    Attributes:
        limited: how often something was not traced because of the limit alone.
    """

    def __init__(
        self,
        *,
        ratio: float,
        limit: float,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take `ratio` of what nobody has decided about, and in all `limit` a second; after a pause as many at once."""
        self.limited = 0
        self._ratio = ratio
        self._limit = limit
        self._draw = draw
        self._clock = clock
        self._most = self._left = max(1.0, limit)
        self._filled_at = clock()

    def takes(self, decided: bool | None) -> bool:
        """Say whether to trace something that its client has `decided` about; None if nobody has."""
        if decided is None:
            decided = self._draw() < self._ratio
        return decided and self._within_limit()

    def _within_limit(self) -> bool:
        now = self._clock()
        self._left = min(self._most, self._left + self._limit * (now - self._filled_at))
        self._filled_at = now
        if self._left < 1:
            self.limited += 1
            return False
        self._left -= 1
        return True
