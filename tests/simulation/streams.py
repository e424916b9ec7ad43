"""Streams as plain data: when their frames are due, and what they ask for."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from nasfeat_server.scheduling.overload import OverloadPolicy

LOW, NORMAL, HIGH = 0.25, 1.0, 4.0
"""The weights of the priority classes."""


def seeded(seed: int, what: str) -> random.Random:
    """Make the source of all that is random about `what`: the same for the same seed, whatever else is drawn."""
    return random.Random(f"{seed} {what}")  # noqa: S311 - a simulation keeps no secrets


class Arrivals(Protocol):
    """When a stream's frames are due."""

    def times(self, rng: random.Random) -> Iterator[float]:
        """Give the times in seconds, never descending, as long as frames come."""
        ...

    def offered(self, seconds: float) -> float:
        """Give the frames that are due in so many seconds, on average."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Periodic:
    """Frames at a fixed rate, each up to `jitter` periods late; the first at a random time in the first period."""

    rate: float
    jitter: float = 0.0

    def times(self, rng: random.Random) -> Iterator[float]:
        """Give the times."""
        start = rng.random()
        number = 0
        # At most a period late, so that frames do not change places.
        while True:
            yield (start + number + self.jitter * rng.random()) / self.rate
            number += 1

    def offered(self, seconds: float) -> float:
        """Give the frames."""
        return self.rate * seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisson:
    """Frames at random, independent of each other, `rate` a second."""

    rate: float

    def times(self, rng: random.Random) -> Iterator[float]:
        """Give the times."""
        now = 0.0
        while True:
            now += rng.expovariate(self.rate)
            yield now

    def offered(self, seconds: float) -> float:
        """Give the frames."""
        return self.rate * seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """Frames in bursts of `size` on average, geometric, at `peak` times the mean `rate`, then silence."""

    rate: float
    size: float = 20.0
    peak: float = 5.0

    def times(self, rng: random.Random) -> Iterator[float]:
        """Give the times."""
        gap_s = 1 / (self.rate * self.peak)
        # The silences make up for what the bursts are too fast.
        silence_s = self.size / self.rate - self.size * gap_s
        end = -math.log1p(-1 / self.size)
        now = rng.expovariate(1 / silence_s)
        while True:
            for _ in range(1 + math.floor(rng.expovariate(end))):
                yield now
                now += gap_s
            now += rng.expovariate(1 / silence_s)

    def offered(self, seconds: float) -> float:
        """Give the frames."""
        return self.rate * seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All of `count` frames at `start_s`: the window alone holds them back."""

    count: int
    start_s: float

    def times(self, rng: random.Random) -> Iterator[float]:
        """Give the times."""
        for _ in range(self.count):
            yield self.start_s

    def offered(self, seconds: float) -> float:
        """Give the frames, if it starts before."""
        return self.count if self.start_s < seconds else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream.

    Attributes:
        kind: what the report calls it.
        arrivals: when its frames are due.
        weight: its share.
        overload: its overload policy. A discipline other than ours treats every stream as BLOCK.
        deadline_s: seconds that each frame has from its arrival at the server; None for any.
        window: the most frames in flight that it asks for.
        backlog: the most frames that may wait, for DROP_OLDEST and REJECT.
        skips: as a camera does, it skips a frame that cannot be sent when it is due; otherwise the frame waits at the
            client.
    """

    kind: str
    arrivals: Arrivals
    weight: float = NORMAL
    overload: OverloadPolicy = OverloadPolicy.BLOCK
    deadline_s: float | None = None
    window: int = 32
    backlog: int = 16
    skips: bool = False


class Ending(Enum):
    """What became of a frame that was sent."""

    DONE = "done in time"
    LATE = "done too late"
    EXPIRED = "given up before the device"
    REFUSED = "refused on arrival"
    SUPERSEDED = "superseded by a newer frame"
    REJECTED = "rejected, its stream's backlog being full"


@dataclass(eq=False, slots=True, kw_only=True)
class Frame:
    """One frame that was sent, and what became of it.

    Attributes:
        stream: the stream's number.
        due_at: when it was due.
        sent_at: when it arrived at the server.
        deadline: when it must be done; None for never.
        lane: for the discipline's use.
        started_at: when a device began with it.
        ended_at: when it was done or given up.
        endings: what became of it, which is one thing.
    """

    stream: int
    due_at: float
    sent_at: float
    deadline: float | None
    lane: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    endings: list[Ending] = field(default_factory=list)
