"""The waiting room of a stream that would rather lose frames than wait."""

import asyncio
from collections import deque

from nasfeat_server.errors import OverloadedError
from nasfeat_server.rpc.convert import StreamTerms
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.scheduling import overload
from nasfeat_server.scheduling.overload import OverloadPolicy, Verdict, Waiting


class Backlog:
    """Carries out what `overload` decides for one stream.

    The stream has one place in the line for slots, and whichever frame is due takes it when a slot comes: a frame
    that is given up does not cost the stream its place.

    Args:
        path: the way of a frame once it has a slot.
        terms: the stream's.
        lane: the stream's.
        tasks: where the frames are worked on.
    """

    def __init__(self, *, path: FramePath, terms: StreamTerms, lane: int, tasks: asyncio.TaskGroup) -> None:
        self._path = path
        self._terms = terms
        self._lane = lane
        self._tasks = tasks
        self._undecoded: deque[FrameJob] = deque()
        self._decoding = 0
        self._changed = asyncio.Event()

    def add(self, job: FrameJob) -> None:
        """Let `job`, which has just arrived, wait for its turn, or give up what the stream's policy names."""
        verdict = overload.on_arrival(self._terms.overload, self._waiting(), self._terms.backlog)
        if verdict is Verdict.NEWCOMER:
            job.error = OverloadedError(
                f"the backlog of the stream is full: it holds {self._terms.backlog}",
                retry_after_s=self._path.retry_after_s(),
            )
            self._path.settle(job)
            return
        if verdict is Verdict.OLDEST_UNDECODED:
            self._path.supersede(self._undecoded.popleft())
        elif verdict is Verdict.OLDEST_QUEUED:
            self._path.dispatcher.supersede_oldest(self._lane)
        self._undecoded.append(job)
        self._changed.set()

    async def run(self) -> None:
        """Let frames in as slots come free, until cancelled."""
        while True:
            await self._due()
            slot = await self._path.reserve()
            # The frame is chosen only now: the slot may have taken a while.
            job = self._undecoded.popleft()
            self._path.admit(job, slot)
            self._decoding += 1
            self._tasks.create_task(self._answer(job))

    async def _due(self) -> None:
        while not self._undecoded or (self._decoding and self._terms.overload is OverloadPolicy.LATEST_ONLY):
            self._changed.clear()
            await self._changed.wait()

    async def _answer(self, job: FrameJob) -> None:
        sound = await self._path.decode(job)
        self._decoding -= 1
        self._changed.set()
        if not sound:
            return
        verdict = overload.on_decoded(self._terms.overload, self._waiting(), self._terms.backlog)
        if verdict is Verdict.NEWCOMER:
            self._path.supersede(job)
            return
        if verdict is Verdict.OLDEST_QUEUED:
            self._path.dispatcher.supersede_oldest(self._lane)
        self._path.execute(job)

    def _waiting(self) -> Waiting:
        return Waiting(
            undecoded=len(self._undecoded),
            decoding=self._decoding,
            queued=self._path.dispatcher.waiting_in(self._lane),
        )
