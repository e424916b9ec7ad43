"""What was counted at the last looks: what happens now is the difference of two of them.

Only looks make it: while nobody watches there is nothing to do, and the first look is compared to the last one or to
the start.
"""

import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nasfeat_server.telemetry.events import Outcome
from nasfeat_server.telemetry.figures import DeviceFigures, FrameFigures

WINDOW_S = 60.0
_SHORTEST_S = 5.0
# Of two minutes, if somebody looks all the time.
_KEPT = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What had been counted at one moment, `at` on the monotonic clock."""

    at: float
    frames: FrameFigures
    devices: Sequence[DeviceFigures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Images a second by their outcome, for `seconds` until `at`; outcomes that there were none of are left out."""

    at: float
    seconds: float
    per_second: Mapping[Outcome, float]


class History:
    """The looks of the last minutes."""

    def __init__(self, start: Look) -> None:
        """Begin with the `start` of the counting."""
        self._looks: deque[Look] = deque((start,), maxlen=_KEPT)

    @property
    def last(self) -> Look:
        """The last look."""
        return self._looks[-1]

    def add(self, look: Look) -> None:
        """Take a later look."""
        self._looks.append(look)

    def base(self) -> Look:
        """Give the look to compare the last one to.

        It is the oldest one of the last minute, so that what is shown is recent; and, if all of these are of this
        very moment, the one before them, so that there is something to show.
        """
        now = self.last.at
        recent = (look for look in self._looks if _SHORTEST_S <= now - look.at <= WINDOW_S)
        older = (look for look in reversed(self._looks) if now - look.at > WINDOW_S)
        return next(recent, None) or next(older, None) or self._looks[0]

    def rates(self, last_s: float) -> Sequence[Rate]:
        """Give what came of images between each two looks in the last seconds, the oldest first."""
        begin = self.last.at - last_s
        pairs = itertools.pairwise(self._looks)
        return [_rate(one, other) for one, other in pairs if other.at > max(one.at, begin)]


def _rate(before: Look, after: Look) -> Rate:
    seconds = after.at - before.at
    counts = {
        outcome: count - before.frames.outcomes.get(outcome, 0) for outcome, count in after.frames.outcomes.items()
    }
    return Rate(
        at=after.at,
        seconds=seconds,
        per_second={outcome: count / seconds for outcome, count in counts.items() if count},
    )
