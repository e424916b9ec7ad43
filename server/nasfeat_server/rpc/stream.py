"""One bidirectional stream: frames are read as far as the window allows, each gets exactly one result."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import grpc.aio

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.errors import InvalidRequestError, NasfeatError
from nasfeat_server.rpc.backlog import Backlog
from nasfeat_server.rpc.convert import StreamTerms, deadline_after
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.job import FrameJob, write_result
from nasfeat_server.rpc.live import LiveStream
from nasfeat_server.rpc.payload import ReceivedMessage
from nasfeat_server.scheduling.interface import Windows
from nasfeat_server.scheduling.overload import OverloadPolicy
from nasfeat_server.scheduling.windows import Window
from nasfeat_server.telemetry.events import Outcome, Source, Stage

Context = grpc.aio.ServicerContext[
    feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse
]
_Requests = AsyncIterator[ReceivedMessage]


class StreamSession:
    """The life of one granted stream.

    The reader takes a frame from the wire only when the window has room for its answer; a stream that blocks, only
    when the arena has room for its image too: that is its backpressure. A frame leaves the window when its answer has
    been sent, so that a client that does not read costs the window and nothing more.
    """

    def __init__(
        self,
        *,
        path: FramePath,
        terms: StreamTerms,
        granted: feature_service_pb2.StreamGranted,
        windows: Windows,
        context: Context,
    ) -> None:
        self._path = path
        self._terms = terms
        self._granted = granted
        self._windows = windows
        self._context = context
        # In the order in which answers are sent; None wakes the writer for anything else.
        self._outbox: asyncio.Queue[FrameJob | None] = asyncio.Queue()
        # Taken from there, and found not to be answered yet.
        self._next: FrameJob | None = None
        # The frames taken in and not yet answered, as they came.
        self._unanswered: dict[FrameJob, None] = {}
        self._lane = 0
        self._tasks = asyncio.TaskGroup()
        self._opened_at = time.monotonic()
        self._window: Window | None = None
        self._backlog: Backlog | None = None
        self._reader: asyncio.Task[None] | None = None
        self._reading = True
        self._failure: NasfeatError | None = None
        self._linger_s = 0.0
        self._last_frame_id = -1
        self._new_window: int | None = None
        self._received = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._deduplicated = 0

    async def run(self, requests: _Requests) -> None:
        """Grant the stream and answer every frame of `requests`.

        Raises:
            NasfeatError: the stream was ended early; every frame that was taken in has been answered before.
        """
        terms = self._terms
        window = self._window = await self._windows.grant(
            ceiling=terms.window,
            weight=terms.weight,
            announce=self._announce,
            adjustable=terms.overload is OverloadPolicy.BLOCK,
        )
        self._lane = self._path.dispatcher.open_lane(terms.weight, live=terms.overload is OverloadPolicy.LATEST_ONLY)
        try:
            self._granted.options.window = window.size
            await self._send(feature_service_pb2.StreamFeaturesResponse(granted=self._granted))
            await self._answer_all(requests, window)
            await self._write_summary(time.monotonic() - self._opened_at)
            if self._linger_s:
                await asyncio.sleep(self._linger_s)
        finally:
            self._path.abandon(tuple(self._unanswered))
            self._path.dispatcher.close_lane(self._lane)
            self._windows.close(window)
        if self._failure:
            raise self._failure

    async def _answer_all(self, requests: _Requests, window: Window) -> None:
        async with self._tasks as tasks:
            if self._terms.overload is not OverloadPolicy.BLOCK:
                self._backlog = Backlog(path=self._path, terms=self._terms, lane=self._lane, tasks=tasks)
                admitting = tasks.create_task(self._backlog.run())
            self._reader = tasks.create_task(self._read(requests, window))
            # A callback, since a task that is cancelled before its first step runs nothing of its own.
            self._reader.add_done_callback(self._end_reading)
            if self._failure:
                # It was told to end while the grant was on its way.
                self._reader.cancel()
            await self._write(window)
            if self._backlog:
                admitting.cancel()

    @property
    def owner(self) -> str:
        """Whose it is; "" if nobody has to say."""
        return self._path.owner

    @property
    def rank(self) -> tuple[int, float]:
        """Orders streams: those with more frames in flight above others, of equals those opened later."""
        return len(self._unanswered), self._opened_at

    def live(self) -> LiveStream:
        """Tell how it goes; from any thread, a frame late."""
        priority = feature_service_pb2.Priority.Name(self._granted.options.priority)
        return LiveStream(
            stream_id=self._terms.stream_id,
            tenant=self.owner,
            version=self._granted.identity.version,
            overload=self._terms.overload.value,
            priority=priority.removeprefix("PRIORITY_").lower(),
            window=self._window.size if self._window else 0,
            in_flight=len(self._unanswered),
            received=self._received,
            outcomes=self._outcomes.copy(),
            opened_at=self._opened_at,
        )

    def stop_reading(self, why: NasfeatError, *, linger_s: float = 0.0) -> None:
        """End the stream with `why` once the frames in flight are answered, and `linger_s` after that."""
        self._failure, self._linger_s = self._failure or why, linger_s
        if self._reader:
            self._reader.cancel()

    def _announce(self, window: int) -> None:
        self._new_window = window
        self._outbox.put_nowait(None)

    async def _read(self, requests: _Requests, window: Window) -> None:
        try:
            await window.enter()
            async for received in requests:
                cut = received.pixels or itertools.repeat(None)
                for frame, pixels in zip(self._frames_of(received), cut, strict=False):
                    await self._take_in(self._next_job(frame, pixels))
                    await window.enter()
        except InvalidRequestError as error:
            self._failure = error

    def _end_reading(self, _: asyncio.Task[None]) -> None:
        self._reading = False
        self._outbox.put_nowait(None)

    def _frames_of(self, received: ReceivedMessage) -> Sequence[feature_service_pb2.Frame]:
        request, allowed = received.request, self._terms.frames_per_message
        kind = request.WhichOneof("message")
        if kind == "frame":
            return (request.frame,)
        if kind != "frames":
            raise InvalidRequestError(
                received.problem or "every message of a stream after its first must be a frame, or several"
            )
        frames = request.frames.frames
        if not 1 <= len(frames) <= allowed:
            raise InvalidRequestError(f"a message of this stream holds 1 to {allowed} frames, not {len(frames)}")
        return frames

    def _next_job(self, frame: feature_service_pb2.Frame, pixels: memoryview | None) -> FrameJob:
        if frame.frame_id <= self._last_frame_id:
            raise InvalidRequestError(
                f"frame id {frame.frame_id} came after {self._last_frame_id}: the ids of a stream must increase"
            )
        self._last_frame_id = frame.frame_id
        job = FrameJob(
            frame_id=frame.frame_id,
            capture_time=frame.capture_time if frame.HasField("capture_time") else None,
            image=frame.image,
            pixels=pixels,
            lane=self._lane,
            weight=self._terms.weight,
            selection=self._terms.selection,
            deadline=deadline_after(self._terms.frame_deadline_s),
        )
        job.method, job.stream_id = "StreamFeatures", self._terms.stream_id
        if self._path.trace:
            job.traceparent = frame.traceparent
        return job

    async def _take_in(self, job: FrameJob) -> None:
        """Put `job` on its way; a stream that blocks waits here until there is room for it."""
        if not self._path.receive(job):
            self._enter(job)
        elif job.following:
            self._enter(job, self._path.answer_following(job))
        elif self._backlog:
            self._enter(job)
            self._backlog.add(job)
        else:
            try:
                slot = await self._path.reserve()
            except asyncio.CancelledError:
                self._path.abandon((job,))
                raise
            self._path.admit(job, slot)
            self._enter(job, self._path.answer(job))

    def _enter(self, job: FrameJob, work: Coroutine[Any, Any, None] | None = None) -> None:
        self._received += 1
        self._unanswered[job] = None
        if self._terms.ordered:
            self._outbox.put_nowait(job)
        else:
            job.answered.add_done_callback(lambda _: self._outbox.put_nowait(job))
        if work:
            self._tasks.create_task(work)

    async def _write(self, window: Window) -> None:
        while self._reading or self._unanswered:
            jobs = await self._answered_jobs()
            await self._write_window()
            if jobs:
                await self._write_results(jobs)
            for job in jobs:
                del self._unanswered[job]
                window.leave()

    async def _answered_jobs(self) -> list[FrameJob]:
        """Wait for the next answer, or for anything else to write; with it come those that are ready too."""
        job, self._next = self._next or await self._outbox.get(), None
        if not job:
            return []
        await job.answered
        jobs = [job]
        while len(jobs) < self._terms.frames_per_message and not self._outbox.empty():
            job = self._outbox.get_nowait()
            if job and not job.answered.done():
                self._next = job
                break
            if job:
                jobs.append(job)
        return jobs

    async def _write_results(self, jobs: Sequence[FrameJob]) -> None:
        message = feature_service_pb2.StreamFeaturesResponse()
        for job in jobs:
            job.stages_s[Stage.REPLY] = time.monotonic() - job.answered_at
            result = message.result if len(jobs) == 1 else message.results.results.add()
            write_result(result, job)
            result.identity.CopyFrom(self._granted.identity)
            result.stream_id = self._terms.stream_id
        await self._send(message)
        for job in jobs:
            self._path.replied(job)
            self._outcomes[job.outcome[0]] += 1
            self._deduplicated += job.source in (Source.SHARED, Source.CACHED)

    async def _write_window(self) -> None:
        size, self._new_window = self._new_window, None
        if size is not None:
            update = feature_service_pb2.WindowUpdate(window=size)
            await self._send(feature_service_pb2.StreamFeaturesResponse(window_update=update))

    async def _write_summary(self, duration_s: float) -> None:
        outcomes = self._outcomes
        summary = feature_service_pb2.StreamSummary(
            stream_id=self._terms.stream_id,
            received=self._received,
            succeeded=outcomes[Outcome.OK],
            failed=outcomes[Outcome.INVALID] + outcomes[Outcome.ERROR],
            rejected=outcomes[Outcome.REJECTED],
            dropped=outcomes[Outcome.DROPPED] + outcomes[Outcome.EXPIRED],
            deduplicated=self._deduplicated,
            duration_s=duration_s,
        )
        await self._send(feature_service_pb2.StreamFeaturesResponse(summary=summary))

    async def _send(self, message: feature_service_pb2.StreamFeaturesResponse) -> None:
        try:
            await self._context.write(message)
        except grpc.aio.BaseError as error:
            # The client is gone, and gRPC has not yet cancelled the call for it.
            raise asyncio.CancelledError from error
