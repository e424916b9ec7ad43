"""Virtual time."""

import heapq
import itertools
import math
from collections.abc import Callable


class Agenda:
    """What happens next, in the order of time; of two things at the same time, the one that was planned first.

    Attributes:
        now: the time in seconds, from 0.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Plan `action`; time does not run backwards.

        Raises:
            ValueError: `time` has passed.
        """
        if not self.now <= time < math.inf:
            raise ValueError(f"nothing can be planned for {time} s at {self.now} s")
        heapq.heappush(self._plans, (time, next(self._numbers), action))

    def run(self) -> None:
        """Do everything there is to do."""
        while self._plans:
            self.now, _, action = heapq.heappop(self._plans)
            action()
