"""One bidirectional stream: frames are read as far as the window allows, each gets exactly one result."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc.aio

from nasfeat.v1 import feature_pb2, feature_service_pb2
from nasfeat_server.errors import InvalidRequestError, NasfeatError
from nasfeat_server.rpc.convert import StreamTerms, deadline_after
from nasfeat_server.rpc.frames import FrameJob, FramePath, result_message
from nasfeat_server.telemetry.events import Stage

Context = grpc.aio.ServicerContext[
    feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse
]


class StreamSession:
    """The life of one granted stream.

    The reader takes a frame from the wire only when the window has room for its answer and the arena for its image:
    that is the stream's backpressure. A frame leaves the window when its answer has been sent, so that a client that
    does not read costs the window and nothing more.
    """

    def __init__(
        self, *, path: FramePath, terms: StreamTerms, identity: feature_pb2.ModelIdentity, context: Context
    ) -> None:
        self._path = path
        self._terms = terms
        self._identity = identity
        self._context = context
        self._room = asyncio.Semaphore(terms.window)
        # In the order in which answers are sent; None wakes the writer when nothing more will be read.
        self._outbox: asyncio.Queue[FrameJob | None] = asyncio.Queue()
        # The frames read and not yet answered, and the tasks that find their answers.
        self._answering: dict[FrameJob, asyncio.Task[None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._reading = True
        self._failure: NasfeatError | None = None
        self._last_frame_id = -1

    async def run(self, requests: AsyncIterator[feature_service_pb2.StreamFeaturesRequest]) -> None:
        """Answer every frame of `requests`.

        Raises:
            NasfeatError: the stream was ended early; every frame that was read has been answered before.
        """
        lane = self._path.dispatcher.open_lane(self._terms.weight)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reader = tasks.create_task(self._read(requests, lane, tasks))
                # A callback, since a task that is cancelled before its first step runs nothing of its own.
                self._reader.add_done_callback(self._end_reading)
                await self._write()
        finally:
            self._path.abandon(tuple(self._answering))
            self._path.dispatcher.close_lane(lane)
        if self._failure:
            raise self._failure

    def stop_reading(self, why: NasfeatError) -> None:
        """End the stream with `why` once the frames in flight are answered."""
        self._failure = self._failure or why
        if self._reader:
            self._reader.cancel()

    async def _read(
        self,
        requests: AsyncIterator[feature_service_pb2.StreamFeaturesRequest],
        lane: int,
        tasks: asyncio.TaskGroup,
    ) -> None:
        try:
            await self._room.acquire()
            async for request in requests:
                job = self._next_job(request, lane)
                await self._path.admit(job)
                self._answering[job] = tasks.create_task(self._answer(job))
                if self._terms.ordered:
                    self._outbox.put_nowait(job)
                await self._room.acquire()
        except InvalidRequestError as error:
            self._failure = error

    def _end_reading(self, _: asyncio.Task[None]) -> None:
        self._reading = False
        self._outbox.put_nowait(None)

    def _next_job(self, request: feature_service_pb2.StreamFeaturesRequest, lane: int) -> FrameJob:
        if request.WhichOneof("message") != "frame":
            raise InvalidRequestError("every message of a stream after its first must be a frame")
        frame = request.frame
        if frame.frame_id <= self._last_frame_id:
            raise InvalidRequestError(
                f"frame id {frame.frame_id} came after {self._last_frame_id}: the ids of a stream must increase"
            )
        self._last_frame_id = frame.frame_id
        return FrameJob(
            frame_id=frame.frame_id,
            capture_time=frame.capture_time if frame.HasField("capture_time") else None,
            image=frame.image,
            lane=lane,
            selection=self._terms.selection,
            deadline=deadline_after(self._terms.frame_deadline_s),
        )

    async def _answer(self, job: FrameJob) -> None:
        await self._path.answer(job)
        if not self._terms.ordered:
            self._outbox.put_nowait(job)

    async def _write(self) -> None:
        while self._reading or self._answering:
            job = await self._outbox.get()
            if job is None:
                continue
            await self._answering[job]
            await self._send(job)
            del self._answering[job]
            self._path.replied(job)
            self._room.release()

    async def _send(self, job: FrameJob) -> None:
        job.stages_s[Stage.REPLY] = time.monotonic() - job.answered_at
        result = result_message(job, self._identity)
        await self._context.write(feature_service_pb2.StreamFeaturesResponse(result=result))
