"""One image from its arrival to its answer: receive, decode, queue, execute."""

import asyncio
import functools
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from nasfeat_server.errors import (
    DeadlinePassedError,
    ExecutionFailedError,
    InvalidImageError,
    NasfeatError,
    ReplicaLostError,
    SupersededError,
)
from nasfeat_server.imaging.digest import SameImage, image_digest
from nasfeat_server.imaging.types import RawPixels
from nasfeat_server.rpc import telling
from nasfeat_server.rpc.convert import image_source
from nasfeat_server.rpc.decoding import Decoding
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.rpc.telling import Standing
from nasfeat_server.scheduling.interface import Scheduler, Slots
from nasfeat_server.scheduling.sharing import Key, Settled, Sharing
from nasfeat_server.scheduling.work import Execution
from nasfeat_server.telemetry.events import CacheAsked, FrameReceived, Observer, Outcome, Source, Stage
from nasfeat_server.telemetry.traces import CallTrace

# A digest is made on the event loop: of this much in a millisecond or two.
_LARGEST_SHARED_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePath:
    """The way that every image for one version of the model takes, whichever call brought it.

    Attributes:
        decoding: brings images to their slots.
        sharing: finds images that are the same.
        digest_key: names the model to the digests of images.
        standing: what the version is to the server.
        owner: whose images these are, which share results among themselves alone; "" for everybody's.
        trace: decides which images of the call are traced; None traces none.
    """

    slots: Slots
    dispatcher: Scheduler
    decoding: Decoding
    sharing: Sharing
    digest_key: bytes
    observer: Observer
    standing: Standing
    owner: str = ""
    trace: CallTrace | None = None

    def receive(self, job: FrameJob) -> bool:
        """Take note of `job`, which has just arrived; False if it is answered with that.

        It is, if it cannot be ready in time or the same image has been computed. If the same image is on its way,
        `job.following` says so, and the job needs no slot.
        """
        job.under_way = True
        self.observer.observe(FrameReceived())
        if self.trace:
            job.traced = self.trace.image(job.traceparent, job.arrived_at)
        try:
            if job.deadline is not None:
                self.dispatcher.check_deadline(job.lane, job.deadline)
            if job.image is not None:
                job.content = image_source(job.image, job.pixels)
                job.image = job.pixels = None
            if self.sharing.enabled and job.content is not None:
                self._look_for_the_same(job, job.content)
        except NasfeatError as error:
            self._refuse(job, error)
        return not job.answered.done()

    def _look_for_the_same(self, job: FrameJob, source: bytes | RawPixels) -> None:
        nbytes = len(source) if isinstance(source, bytes) else len(source.data)
        if nbytes > _LARGEST_SHARED_BYTES:
            return
        if job.key is None:
            content = image_digest(source, self.digest_key) if self.sharing.caches else SameImage(source)
            job.key = Key(content=content, outputs=job.selection.computed, owner=self.owner)
        job.results = self.sharing.find(job.key)
        if self.sharing.caches:
            self.observer.observe(CacheAsked(hit=job.results is not None))
        if job.results is not None:
            job.source = Source.CACHED
            self.settle(job)
            return
        job.following = self.sharing.follow(job.key, job.weight, nbytes)
        if job.following:
            job.following_bytes = nbytes
        else:
            job.leading = self.sharing.lead(job.key, job.weight, nbytes)
            if not job.leading:
                job.key = None

    def retry_after_s(self) -> float:
        """Estimate when it is worth while to come again with an image for which there is no room now."""
        return self.dispatcher.drain_s()

    async def reserve(self, *, max_waiting: int | None = None) -> int:
        """Wait for a slot and for room to decode one image.

        Raises:
            OverloadedError: `max_waiting` images wait already.
        """
        slot = await self.slots.acquire(max_waiting=max_waiting, retry_after_s=self.dispatcher.drain_s)
        try:
            await self.decoding.room.acquire()
        except asyncio.CancelledError:
            self.slots.release(slot)
            raise
        return slot

    def admit(self, job: FrameJob, slot: int) -> None:
        """Give `job` a slot and room to be decoded, from `reserve`."""
        job.slot = slot
        job.has_room = True
        job.stages_s[Stage.RECEIVE] = time.monotonic() - job.arrived_at

    def answer(self, job: FrameJob) -> Coroutine[Any, Any, None] | None:
        """Send an admitted `job` on its way through decoding and execution, at the end of which it is settled.

        Returns:
            What is to be run for that; None if nothing is, as for a raw frame that is copied: a task costs more.
        """
        if not self.decoding.is_copy(job):
            return self._answer(job)
        try:
            self.decoding.run_here(job)
        except NasfeatError as error:
            self._refuse(job, error)
        else:
            self.execute(job)
        return None

    async def _answer(self, job: FrameJob) -> None:
        if await self.decode(job):
            self.execute(job)

    async def decode(self, job: FrameJob) -> bool:
        """Decode an admitted `job` into its slot; False if it cannot be decoded, and is settled."""
        try:
            if self.decoding.is_copy(job):
                self.decoding.run_here(job)
            else:
                await self.decoding.run_on_thread(job)
        except NasfeatError as error:
            self._refuse(job, error)
            return False
        return True

    def execute(self, job: FrameJob) -> None:
        """Send a decoded `job` to a device; it is settled when that is done with it."""
        if job.slot is None:
            raise AssertionError("only admitted frames are executed")
        wanted = job.selection
        job.work = self.dispatcher.submit(job.lane, job.slot, wanted.computed, wanted.nbytes, job.deadline)
        job.slot = None
        job.work.done.add_done_callback(functools.partial(self._executed, job))

    async def answer_following(self, job: FrameJob) -> None:
        """Answer a `job` that waits for the same image; if that one leaves unanswered, `job` goes its own way."""
        while job.following:
            try:
                outcome = await self._outcome(job)
            except DeadlinePassedError as error:
                outcome = error
            self._unfollow(job)
            if isinstance(outcome, bytes):
                job.results, job.source = outcome, Source.SHARED
            elif outcome is None and job.content is not None:
                self._look_for_the_same(job, job.content)
                continue
            job.error = outcome if isinstance(outcome, NasfeatError) else None
            self.settle(job)
        if not job.answered.done():
            self.admit(job, await self.reserve())
            await self._answer(job)

    async def _outcome(self, job: FrameJob) -> Settled:
        if not job.following:
            raise AssertionError("only a job that follows has somebody to wait for")
        try:
            async with asyncio.timeout_at(job.deadline):
                outcome = await job.following.result()
        except TimeoutError:
            waited_s = time.monotonic() - job.arrived_at
            raise DeadlinePassedError(f"the image waited {waited_s:.3f} s and its deadline passed") from None
        job.stages_s[Stage.QUEUE] = time.monotonic() - job.arrived_at
        return outcome

    def _executed(self, job: FrameJob, done: asyncio.Future[Execution]) -> None:
        # Looked at even if the job has been abandoned meanwhile: asyncio complains of errors that nobody looks at.
        error = done.exception()
        if not job.under_way:
            return
        if isinstance(error, SupersededError):
            job.superseded = True
        elif isinstance(error, NasfeatError):
            job.error = error
        else:
            execution = done.result()
            job.results = execution.results
            job.source = Source.COMPUTED
            job.stages_s[Stage.QUEUE] = execution.queue_s
            job.stages_s[Stage.EXECUTE] = execution.execute_s
        self.settle(job)

    def supersede(self, job: FrameJob) -> None:
        """Settle a `job` that no device has had: a newer frame of its stream takes its place."""
        job.superseded = True
        self.settle(job)

    def _refuse(self, job: FrameJob, error: NasfeatError) -> None:
        job.error = error
        self.settle(job)

    def settle(self, job: FrameJob) -> None:
        """Note that `job` has its answer: free what it holds and tell those who wait for it."""
        self._release(job)
        job.answered_at = time.monotonic()
        if not job.answered.done():
            job.answered.set_result(None)

    def replied(self, job: FrameJob) -> None:
        """Note that the answer of `job` has been sent."""
        self._finish(job, *job.outcome, sent_at=time.time())

    def abandon(self, jobs: Iterable[FrameJob]) -> None:
        """Give up `jobs`, which nobody waits for any more and no task works on: free what they hold."""
        for job in jobs:
            if job.work:
                self.dispatcher.abandon(job.work)
            self._release(job)
            expired = job.deadline is not None and time.monotonic() >= job.deadline
            self._finish(job, Outcome.EXPIRED if expired else Outcome.CANCELLED, "")

    def _finish(self, job: FrameJob, outcome: Outcome, reason: str, *, sent_at: float | None = None) -> None:
        if not job.under_way:
            return
        job.under_way = False
        told = telling.finished(job, outcome, reason, standing=self.standing, owner=self.owner, sent_at=sent_at)
        self.observer.observe(told)
        if job.error:
            self.observer.observe(telling.refused(job, job.error, self.owner))

    def _release(self, job: FrameJob) -> None:
        """Give back what `job` holds; the slot as soon as no decoding thread can write to it."""
        job.content = None
        self.decoding.leave(job)
        self._unfollow(job)
        if job.leading and job.key:
            self.sharing.settle(job.key, job.leading, _as_settled(job))
            job.leading = None
        job.key = None
        slot, job.slot = job.slot, None
        if slot is None:
            return
        if job.decoding is None or job.decoding.done() or job.decoding.cancel():
            self.slots.release(slot)
        else:
            loop = asyncio.get_running_loop()
            job.decoding.add_done_callback(lambda _: loop.call_soon_threadsafe(self.slots.release, slot))

    def _unfollow(self, job: FrameJob) -> None:
        if job.following:
            job.following = None
            self.sharing.unfollow(job.following_bytes)


def _as_settled(job: FrameJob) -> Settled:
    """Give what the same image would get too: not what befell this one alone."""
    if isinstance(job.error, InvalidImageError | ExecutionFailedError | ReplicaLostError):
        return job.error
    return job.results
