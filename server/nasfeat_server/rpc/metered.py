"""The way of the images of a tenant: the same as everybody's, at the tenant's rate."""

import asyncio
import dataclasses
import time
from dataclasses import dataclass
from typing import Self

from nasfeat_server.errors import OverloadedError
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.scheduling.interface import Metering


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredPath(FramePath):
    """A `FramePath` on which an image waits for its tenant's rate before it waits for a slot.

    A stream that blocks is so read no faster than the rate; one that gives frames up does so while it waits.

    Attributes:
        meter: the tenant's, of all its calls together.
    """

    meter: Metering

    @classmethod
    def of(cls, path: FramePath, *, owner: str, meter: Metering) -> Self:
        """Put `meter` before `path`, for the images of `owner`."""
        same = {field.name: getattr(path, field.name) for field in dataclasses.fields(FramePath)}
        return cls(**same | {"owner": owner}, meter=meter)

    def retry_after_s(self) -> float:
        """Estimate when it is worth while to come again: when there may be room, and the rate allows it."""
        return max(self.dispatcher.drain_s(), self.meter.ready_in_s())

    async def reserve(self, *, max_waiting: int | None = None) -> int:
        """Wait for the tenant's rate, then as every path does.

        Raises:
            OverloadedError: `max_waiting` images wait already, or, where that is given, the tenant is above its rate.
        """
        if max_waiting is None:
            await self.meter.pass_in_turn()
        elif not await self.meter.pass_at_once():
            raise OverloadedError(
                f"the tenant is above its {self.meter.per_second:g} frames a second; try again later",
                retry_after_s=self.meter.ready_in_s(),
            )
        try:
            # Without `super`, which in a class with slots finds another class.
            return await FramePath.reserve(self, max_waiting=max_waiting)
        except (OverloadedError, asyncio.CancelledError):
            self.meter.give_back()
            raise

    def admit(self, job: FrameJob, slot: int) -> None:
        """Give `job` a slot and room to be decoded; one whose deadline passed while it waited costs the tenant nothing.

        Else a stream whose deadline is shorter than the pauses of its rate would never see a frame computed.
        """
        FramePath.admit(self, job, slot)
        if job.deadline is not None and time.monotonic() >= job.deadline:
            self.meter.give_back()
        else:
            self.meter.admit()
