"""One image from its arrival to its answer: receive, decode, queue, execute."""

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
from google.protobuf.timestamp_pb2 import Timestamp

from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from nasfeat_server.errors import DeadlinePassedError, NasfeatError
from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.types import ImageLimits, PixelFormat, RawPixels
from nasfeat_server.rpc.convert import image_source
from nasfeat_server.rpc.outputs import Selection, pack_features
from nasfeat_server.rpc.status import retry_after_s, status_of
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.work import Work
from nasfeat_server.telemetry.events import FrameFinished, FrameReceived, Observer, Outcome, Stage


class FrameJob:
    """One image of one call, with everything that is known and owned on its behalf.

    Attributes:
        selection: what is wanted of it.
        deadline: on the monotonic clock; None for never.
        results: the answer when all went well: the outputs wanted, float32 little-endian.
        error: the answer when not.
        stages_s: seconds spent in each stage so far.
    """

    def __init__(
        self,
        *,
        frame_id: int,
        capture_time: Timestamp | None,
        image: image_pb2.Image,
        lane: int,
        selection: Selection,
        deadline: float | None,
    ) -> None:
        """Note the arrival."""
        self.frame_id = frame_id
        # A copy, since any part of a message keeps all of its memory, the image's too.
        self.capture_time = Timestamp(seconds=capture_time.seconds, nanos=capture_time.nanos) if capture_time else None
        self.image: image_pb2.Image | None = image
        self.lane = lane
        self.selection = selection
        self.deadline = deadline
        self.arrived_at = time.monotonic()
        self.stages_s: dict[Stage, float] = {}
        self.results: bytes | None = None
        self.error: NasfeatError | None = None
        self.answered_at = 0.0
        self.slot: int | None = None
        self.decoding: Future[None] | None = None
        self.work: Work | None = None
        self.has_room = False
        self.under_way = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePath:
    """The way that every image takes, whichever call brought it.

    Attributes:
        images: the arena's images, uint8 [slots, H, W, 3].
        decoders: the threads that decode.
        undecoded: room for images that are admitted and not yet decoded. A slot holds an image of the network's size;
            what it is decoded from can be hundreds of times as large, so that slots alone would not bound memory.
    """

    slots: SlotPool
    dispatcher: Dispatcher
    images: npt.NDArray[np.uint8]
    decoders: ThreadPoolExecutor
    undecoded: asyncio.Semaphore
    limits: ImageLimits
    observer: Observer

    async def admit(self, job: FrameJob, *, max_waiting: int | None = None) -> None:
        """Wait for a slot and for room to decode `job`, which has just arrived.

        Raises:
            OverloadedError: `max_waiting` images wait already.
        """
        job.under_way = True
        self.observer.observe(FrameReceived())
        try:
            job.slot = await self.slots.acquire(max_waiting=max_waiting)
            job.has_room = await self.undecoded.acquire()
        except asyncio.CancelledError:
            self.abandon((job,))
            raise
        job.stages_s[Stage.RECEIVE] = time.monotonic() - job.arrived_at

    async def answer(self, job: FrameJob) -> None:
        """Take an admitted `job` through decoding and execution; leaves its results or its error in it."""
        try:
            await self._decode(job)
            await self._execute(job)
        except NasfeatError as error:
            job.error = error
        self._release(job)
        job.answered_at = time.monotonic()

    async def _decode(self, job: FrameJob) -> None:
        started_at = time.monotonic()
        if job.image is None:
            raise AssertionError("an image is decoded once")
        source = image_source(job.image)
        out = self.images[job.slot]
        if _is_plain_copy(source, out.shape):
            # A copy of a third of a megabyte costs less than the way to a thread and back.
            decode_into(source, out, self.limits)
        else:
            job.decoding = self.decoders.submit(decode_into, source, out, self.limits)
            await asyncio.wrap_future(job.decoding)
        self._leave_room(job)
        job.stages_s[Stage.DECODE] = time.monotonic() - started_at

    async def _execute(self, job: FrameJob) -> None:
        if job.slot is None:
            raise AssertionError("only admitted frames are executed")
        wanted = job.selection
        job.work = self.dispatcher.submit(job.lane, job.slot, wanted.computed, wanted.nbytes)
        job.slot = None
        if job.deadline is not None:
            await asyncio.wait((job.work.done,), timeout=job.deadline - time.monotonic())
            if not job.work.done.done() and self.dispatcher.expire(job.work):
                waited_s = time.monotonic() - job.arrived_at
                raise DeadlinePassedError(f"the image waited {waited_s:.3f} s and its deadline passed")
        execution = await job.work.done
        job.results = execution.results
        job.stages_s[Stage.QUEUE] = execution.queue_s
        job.stages_s[Stage.EXECUTE] = execution.execute_s

    def replied(self, job: FrameJob) -> None:
        """Note that the answer of `job` has been sent."""
        outcome = status_of(job.error).outcome if job.error else Outcome.OK
        self._finish(job, outcome, type(job.error).__name__.removesuffix("Error") if job.error else "")

    def abandon(self, jobs: Iterable[FrameJob]) -> None:
        """Give up `jobs`, which nobody waits for any more and no task works on: free what they hold."""
        for job in jobs:
            if job.work:
                self.dispatcher.abandon(job.work)
            self._release(job)
            expired = job.deadline is not None and time.monotonic() >= job.deadline
            self._finish(job, Outcome.EXPIRED if expired else Outcome.CANCELLED, "")

    def _finish(self, job: FrameJob, outcome: Outcome, reason: str) -> None:
        if job.under_way:
            job.under_way = False
            self.observer.observe(FrameFinished(outcome=outcome, reason=reason, stages_s=job.stages_s))

    def _release(self, job: FrameJob) -> None:
        """Give the slot back, if `job` still owns one, as soon as no decoding thread can write to it."""
        self._leave_room(job)
        slot, job.slot = job.slot, None
        if slot is None:
            return
        if job.decoding is None or job.decoding.done() or job.decoding.cancel():
            self.slots.release(slot)
        else:
            loop = asyncio.get_running_loop()
            job.decoding.add_done_callback(lambda _: loop.call_soon_threadsafe(self.slots.release, slot))

    def _leave_room(self, job: FrameJob) -> None:
        job.image = None
        if job.has_room:
            job.has_room = False
            self.undecoded.release()


def result_message(job: FrameJob, identity: feature_pb2.ModelIdentity | None = None) -> feature_service_pb2.FrameResult:
    """Give the one answer to `job`, which has been answered."""
    result = feature_service_pb2.FrameResult(
        frame_id=job.frame_id,
        capture_time=job.capture_time,
        identity=identity,
        timings=feature_pb2.Timings(**{f"{stage}_s": seconds for stage, seconds in job.stages_s.items()}),
    )
    if job.results is not None:
        pack_features(result.features, job.selection, job.results)
    elif isinstance(job.error, DeadlinePassedError):
        result.dropped.reason = feature_service_pb2.DROP_REASON_DEADLINE
    elif job.error is not None:
        _write_error(result.error, job.error)
    return result


def _write_error(message: feature_pb2.FrameError, error: NasfeatError) -> None:
    status = status_of(error)
    message.reason = status.reason
    message.message = str(error)
    message.code = status.code.value[0]
    after_s = retry_after_s(error)
    if after_s is not None:
        message.retry_after.FromTimedelta(timedelta(seconds=after_s))


def _is_plain_copy(source: bytes | RawPixels, shape: tuple[int, ...]) -> bool:
    return (
        isinstance(source, RawPixels)
        and source.pixel_format is PixelFormat.RGB8
        and (source.height, source.width) == shape[:2]
    )
