"""The last refusals, for whoever looks: a flood of one kind takes the place of one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nasfeat_server.telemetry.events import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentRefusal:
    """Refusals of one kind.

    Attributes:
        last: the last of them.
        count: how many there were since this kind was last forgotten.
        at: when the last one was, on the monotonic clock.
    """

    last: Refused
    count: int
    at: float


class RecentRefusals:
    """An observer that keeps the last refusals, those of a stream and a reason as one."""

    wanted = frozenset({Refused})

    def __init__(self, *, kinds: int = 50, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep so many `kinds`."""
        self._kinds = kinds
        self._clock = clock
        # The newest last.
        self._kept: dict[tuple[str, ...], RecentRefusal] = {}

    def observe(self, event: Refused) -> None:
        """Keep `event`."""
        kind = (event.method, event.reason, event.stream_id, event.tenant)
        before = self._kept.pop(kind, None)
        self._kept[kind] = RecentRefusal(last=event, count=before.count + 1 if before else 1, at=self._clock())
        if len(self._kept) > self._kinds:
            del self._kept[next(iter(self._kept))]

    def newest_first(self) -> Sequence[RecentRefusal]:
        """Give what is kept; from any thread."""
        return tuple(self._kept.values())[::-1]
