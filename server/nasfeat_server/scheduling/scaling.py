"""How many replicas the load needs, where more can be had: decisions over plain data, the time passed in."""

import math
from collections import deque
from dataclasses import dataclass

BUSY = 0.75
"""The part of what replicas can do in full batches above which there are too few of them, if images wait."""
EASY = 0.5
"""The part below which there are too many. What lies between is left alone: the same load brings and takes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """Between how many the load decides, and how soon.

    Attributes:
        least: replicas that are kept when there is nothing to do, 1 or more.
        most: replicas that there are when there is more to do than they can.
        up_after_s: seconds of too much work after which more are asked for.
        down_after_s: seconds of little work after which those that it does not need are ended.
    """

    least: int
    most: int
    up_after_s: float
    down_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there is to do at one moment, and who does it.

    Attributes:
        at: when, in seconds.
        submitted: images that have been queued for replicas so far.
        live: those of them that newer ones of their stream take the place of, so that one of each waits at most.
        waiting: those that wait for one.
        replicas: those that take work.
        rate: images a second that they do together in full batches; infinite as long as that is not known of one.
        live_rate: the same in batches of one image of each live stream.
    """

    at: float
    submitted: int
    live: int
    waiting: int
    replicas: int
    rate: float
    live_rate: float


class Scaler:
    """Follows the load from look to look.

    Work is measured in replicas that it would keep busy all the time, on average over `up_after_s`. Are these more than
    `BUSY` of those that take work, and did images wait at most looks, then there shall be as many as are no busier than
    that. Were they at all times of the last `down_after_s` less than `EASY` of those that are wanted, then as many stay
    as the busiest of these times needs.

    Args:
        policy: between how many, and how soon.

    Attributes:
        wanted: the replicas that there shall be.
    """

    def __init__(self, policy: ScalingPolicy) -> None:
        self.wanted = policy.least
        self._policy = policy
        self._recent: deque[Look] = deque()
        # When so many were enough at last, the most first.
        self._enough: deque[tuple[float, int]] = deque()

    def look(self, look: Look) -> int:
        """Take note of what there is to do now, and give the replicas that there shall be."""
        policy = self._policy
        needed, enough = self._judge(look) or (0, self._enough[-1][1] if self._enough else self.wanted)
        while self._enough and self._enough[-1][1] <= enough:
            self._enough.pop()
        self._enough.append((look.at, enough))
        while look.at - self._enough[0][0] > policy.down_after_s:
            self._enough.popleft()
        self.wanted = max(policy.least, min(policy.most, max(needed, min(self.wanted, self._enough[0][1]))))
        return self.wanted

    def _judge(self, look: Look) -> tuple[int, int] | None:
        """Tell how many replicas are needed now, and how many would be enough; None if there is no telling yet."""
        recent, stretch_s = self._recent, self._policy.up_after_s
        if recent and recent[-1].replicas != look.replicas:
            # Others had what was to be done before.
            recent.clear()
        recent.append(look)
        while len(recent) > 1 and look.at - recent[1].at >= stretch_s:
            recent.popleft()
        seconds = look.at - recent[0].at
        if seconds < stretch_s or not look.rate:
            return None
        waited = [each.waiting > 0 for each in recent][1:]
        waits = 2 * sum(waited) > len(waited)
        live = look.live - recent[0].live
        busy_s = (look.submitted - recent[0].submitted - live) / look.rate + live / look.live_rate
        work = look.replicas * busy_s / seconds
        if not waits:
            return 0, _whole(work / EASY)
        # Clients that wait for answers ask for no more than those can do that have come.
        coming = self.wanted if look.replicas < self.wanted else 0
        return max(coming, _whole(work / BUSY)), max(coming, _whole(work / EASY))


def _whole(replicas: float) -> int:
    """Round up, but for what arithmetic has added."""
    return math.ceil(replicas - 1e-9)
