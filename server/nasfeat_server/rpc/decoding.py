"""The decode stage: from an image as it came to its slot of the arena."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.framing import STRETCH, Framing
from nasfeat_server.imaging.raw import is_plain_copy
from nasfeat_server.imaging.types import ImageLimits, RawPixels
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.telemetry.events import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Where every image is decoded. A job passes through once it has a slot and room.

    Attributes:
        images: the arena's images, uint8 [slots, H, W, 3].
        threads: those that decode.
        room: for images that are admitted and not yet decoded. A slot holds an image of the network's size; what it
            is decoded from can be hundreds of times as large, so that slots alone would not bound memory.
        limits: what is too large.
        framing: how pictures are brought to the network's proportions.
    """

    images: npt.NDArray[np.uint8]
    threads: ThreadPoolExecutor
    room: asyncio.Semaphore
    limits: ImageLimits
    framing: Framing = STRETCH

    def is_copy(self, job: FrameJob) -> bool:
        """Tell whether `job` brought what a slot holds: a copy of that costs less than the way to a thread and back."""
        source = job.content
        return isinstance(source, RawPixels) and is_plain_copy(source, self.images.shape[1:], self.framing)

    def run_here(self, job: FrameJob) -> None:
        """Decode `job` before this returns.

        Raises:
            InvalidImageError: it cannot be decoded.
        """
        started_at = time.monotonic()
        try:
            decode_into(*self._task(job))
        finally:
            self._done(job, started_at)

    async def run_on_thread(self, job: FrameJob) -> None:
        """Decode `job` on a thread; if this is cancelled, `job.decoding` tells whether the thread still writes.

        Raises:
            InvalidImageError: it cannot be decoded.
        """
        started_at = time.monotonic()
        job.decoding = self.threads.submit(decode_into, *self._task(job))
        try:
            await asyncio.wrap_future(job.decoding)
        except InvalidImageError:
            self._done(job, started_at)
            raise
        self._done(job, started_at)

    def leave(self, job: FrameJob) -> None:
        """Give back the room of `job`, if it has any, and with it the image as it came."""
        if job.has_room:
            job.content = None
            job.has_room = False
            self.room.release()

    def _task(self, job: FrameJob) -> tuple[bytes | RawPixels, npt.NDArray[np.uint8], ImageLimits, Framing]:
        if job.content is None or job.slot is None:
            raise AssertionError("an image is decoded once, into its slot")
        return job.content, self.images[job.slot], self.limits, self.framing

    def _done(self, job: FrameJob, started_at: float) -> None:
        self.leave(job)
        job.stages_s[Stage.DECODE] = time.monotonic() - started_at
