"""What the edge needs of the scheduler, wherever that is.

`SlotPool`, `Dispatcher` and `WindowKeeper` are it; in a front end's process their stand-ins of `scheduling.remote` are.
"""

from collections.abc import Callable
from typing import Protocol

from nasfeat_server.engine.interface import Outputs
from nasfeat_server.scheduling.windows import Window
from nasfeat_server.scheduling.work import Work


class Slots(Protocol):
    """The arena's slots, first come, first served; see `SlotPool`."""

    capacity: int

    @property
    def in_use(self) -> int:
        """Slots that are taken."""
        ...

    @property
    def waiting(self) -> int:
        """Callers in the line."""
        ...

    async def acquire(self, *, max_waiting: int | None = None, retry_after_s: Callable[[], float] = ...) -> int:
        """Wait for a slot.

        Raises:
            OverloadedError: `max_waiting` callers or more are in the line already.
        """
        ...

    def release(self, slot: int) -> None:
        """Give `slot` back."""
        ...


class Scheduler(Protocol):
    """Where decoded images go; see `Dispatcher`."""

    @property
    def depth(self) -> int:
        """Images that wait for a replica."""
        ...

    def open_lane(self, weight: float, *, live: bool = False) -> int:
        """Add a stream with its share of the devices; returns its number."""
        ...

    def close_lane(self, lane: int) -> None:
        """Forget a stream whose images are all settled or withdrawn."""
        ...

    def waiting_in(self, lane: int) -> int:
        """Count the images of a stream that no replica has had."""
        ...

    def submit(self, lane: int, slot: int, outputs: Outputs, result_bytes: int, deadline: float | None = None) -> Work:
        """Queue the image in `slot`, which belongs to the scheduler from now on; await the result's `done`."""
        ...

    def check_up(self) -> None:
        """Do nothing, unless waiting for a replica is given up.

        Raises:
            ReplicaLostError: it is.
        """
        ...

    def check_deadline(self, lane: int, deadline: float) -> None:
        """Refuse an image of a stream that cannot be done in time, as soon as that is known.

        Raises:
            DeadlinePassedError: it cannot.
        """
        ...

    def drain_s(self) -> float:
        """Estimate how long the images that wait now keep the replicas busy."""
        ...

    def supersede_oldest(self, lane: int) -> None:
        """Give up the stream's oldest image that no replica has had."""
        ...

    def abandon(self, work: Work) -> None:
        """Drop `work`, for which nobody waits any more, before the device if that is still possible."""
        ...


class Windows(Protocol):
    """What each stream may have in flight; see `WindowKeeper`."""

    async def grant(
        self, *, ceiling: int, weight: float, announce: Callable[[int], None], adjustable: bool = True
    ) -> Window:
        """Grant a new stream what there is for it beside the others.

        Raises:
            OverloadedError: as many streams are open as may be.
        """
        ...

    def close(self, window: Window) -> None:
        """Forget a stream."""
        ...


class Metering(Protocol):
    """Lets a tenant's frames through at its rate; see `Meter`."""

    @property
    def per_second(self) -> float | None:
        """The rate in force, in frames a second; None if there is no limit."""
        ...

    def ready_in_s(self) -> float:
        """Estimate the seconds until a frame that came now would pass."""
        ...

    async def pass_at_once(self) -> bool:
        """Let one frame through if it need not wait."""
        ...

    async def pass_in_turn(self) -> None:
        """Let one frame through when it is due."""
        ...

    def give_back(self) -> None:
        """Take one frame back that was let through and went no further."""
        ...

    def admit(self) -> None:
        """Count a frame that was let through and then took a slot."""
        ...
