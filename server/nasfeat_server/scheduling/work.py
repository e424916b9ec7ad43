"""One decoded image on its way through the replicas."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from nasfeat_server.engine.interface import Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What came of a work.

    Attributes:
        results: the outputs wanted, one behind the other, float32 little-endian.
        queue_s: seconds from submission until now, but for those on the device.
        execute_s: seconds that the device worked on its batch.
        device: that replica's device.
        batch_size: images in its batch.
    """

    results: bytes
    queue_s: float
    execute_s: float
    device: str
    batch_size: int


class Work:
    """A decoded image in a slot of the arena, and the promise of its outputs.

    The slot belongs to the scheduler from submission on: it is released exactly once, when no replica can touch it
    any more, whatever becomes of the one who waits.

    Attributes:
        begun: called whenever a replica gets it; None tells nobody.
        keeps_slot: its outputs are read where they lie by whoever gets the result, who releases the slot then.
    """

    __slots__ = (
        *("abandoned", "attempts", "begun", "deadline", "done", "keeps_slot", "lane", "outputs", "queued_at"),
        *("result_bytes", "slot"),
    )

    def __init__(
        self,
        *,
        lane: int,
        slot: int,
        outputs: Outputs,
        result_bytes: int,
        deadline: float | None,
        done: asyncio.Future[Execution],
    ) -> None:
        """Describe the image in `slot`, of the stream whose lane is `lane`, and what is wanted of it until when."""
        self.lane = lane
        self.slot = slot
        self.outputs = outputs
        self.result_bytes = result_bytes
        self.deadline = deadline
        self.done = done
        self.queued_at = 0.0
        self.attempts = 0
        self.abandoned = False
        self.begun: Callable[[], None] | None = None
        self.keeps_slot = False

    def __repr__(self) -> str:
        """Show what a debugging log needs."""
        return f"<Work lane={self.lane} slot={self.slot} attempts={self.attempts}{' abandoned' * self.abandoned}>"
