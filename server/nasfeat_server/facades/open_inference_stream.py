"""ModelStreamInfer: many requests at once on one stream, answered in their order; one that fails does so alone."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from nasfeat.inference.v2 import inference_pb2
from nasfeat.v1 import feature_service_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.errors import NasfeatError
from nasfeat_server.facades.open_inference_receive import Received
from nasfeat_server.facades.open_inference_requests import Order, check, read, response
from nasfeat_server.facades.open_inference_sides import Side, Sides
from nasfeat_server.rpc import convert, tenancy
from nasfeat_server.rpc.catalog import Served
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.rpc.live import LiveStream
from nasfeat_server.scheduling.overload import OverloadPolicy
from nasfeat_server.telemetry.events import Outcome, Stage

METHOD = "ModelStreamInfer"
OVERLOAD = OverloadPolicy.BLOCK.value

_Response = inference_pb2.ModelStreamInferResponse


@dataclass(eq=False, slots=True, kw_only=True)
class _Request:
    """A request that was read.

    Attributes:
        size: images that it is counted as.
        order: what it asks for; None if that cannot be made out.
        error: why it has no answer, if that is known without its images.
    """

    request_id: str
    size: int = 1
    side: Side | None = None
    order: Order | None = None
    jobs: list[FrameJob] = field(default_factory=list)
    error: NasfeatError | None = None


class InferStream:
    """The life of one stream.

    As a stream of FeatureService that blocks, it is read no faster than there is room for images. What is answered and
    not yet sent is bounded by the same number, so that a client that does not read costs no more than that.

    Args:
        choose: finds the version that a request names, which later requests that name the same get too.
        path_of: gives the way of this call's images to the devices of a version.
        limits: what a request may ask for.
        refused: told of the error of a request that has no images.
        context: of the call.
    """

    def __init__(
        self,
        *,
        choose: Callable[[str, str], Served],
        path_of: Callable[[FramePath], FramePath],
        limits: RequestLimits,
        refused: Callable[[NasfeatError], None],
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> None:
        self._limits = limits
        self._refused = refused
        self._context = context
        self._sides = Sides(self, choose=choose, path_of=path_of, ceiling=limits.max_window)
        # In the order in which answers are sent; None wakes the writer for the end.
        self._outbox: asyncio.Queue[_Request | None] = asyncio.Queue()
        self._unanswered: dict[_Request, None] = {}
        # Images of requests whose answers have not been sent.
        self._held = 0
        self._sent = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._reader: asyncio.Task[None] | None = None
        self._reading = True
        self._failure: NasfeatError | None = None
        self._linger_s = 0.0
        self._stream_id = uuid.uuid4().hex
        self._opened_at = time.monotonic()
        # Of the newest request.
        self._priority = feature_service_pb2.PRIORITY_NORMAL
        self._received = 0
        self._outcomes: Counter[Outcome] = Counter()

    async def run(self, requests: AsyncIterator[Received]) -> None:
        """Answer every request until the client has sent the last.

        Raises:
            NasfeatError: the stream was ended early; every request that was taken in has been answered before.
        """
        try:
            async with self._tasks as tasks:
                self._reader = tasks.create_task(self._read(requests))
                # A callback, since a task that is cancelled before its first step runs nothing of its own.
                self._reader.add_done_callback(self._end_reading)
                await self._write()
            if self._linger_s:
                await asyncio.sleep(self._linger_s)
        finally:
            for request in self._unanswered:
                if request.side:
                    request.side.path.abandon(request.jobs)
            self._sides.close()
        if self._failure:
            raise self._failure

    @property
    def owner(self) -> str:
        """Whose it is; "" if nobody has to say."""
        return next((side.path.owner for side in self._sides.all), "")

    @property
    def rank(self) -> tuple[int, float]:
        """Orders streams: those with more images in flight above others, of equals those opened later."""
        return self._held, self._opened_at

    def live(self) -> LiveStream:
        """Tell how it goes; from any thread, an image late."""
        sides = self._sides.all
        return LiveStream(
            stream_id=self._stream_id,
            tenant=self.owner,
            version=sides[0].served.version if sides else "",
            overload=OVERLOAD,
            priority=feature_service_pb2.Priority.Name(self._priority).removeprefix("PRIORITY_").lower(),
            window=sides[0].window.size if sides else 0,
            in_flight=self._held,
            received=self._received,
            outcomes=self._outcomes.copy(),
            opened_at=self._opened_at,
        )

    def stop_reading(self, why: NasfeatError, *, linger_s: float = 0.0) -> None:
        """End the stream with `why` once the requests in flight are answered, and `linger_s` after that."""
        self._failure, self._linger_s = self._failure or why, linger_s
        if self._reader:
            self._reader.cancel()

    async def _read(self, requests: AsyncIterator[Received]) -> None:
        async for received in requests:
            request = _Request(request_id=received.request.id)
            try:
                order, side = await self._understand(received)
            except NasfeatError as error:
                request.error = error
                self._refused(error)
                await self._enter(request, self._limits.max_window)
                self._outbox.put_nowait(request)
                continue
            request.order, request.side, request.size = order, side, len(order.images)
            fitting = self._limits.max_held_bytes // order.selection.nbytes
            await self._enter(request, max(1, min(side.window.ceiling, fitting)))
            try:
                await self._take_in(request, order, side)
            except asyncio.CancelledError:
                # Some of its images may be on their way, and no others will be.
                request.error = self._failure
                raise
            finally:
                self._outbox.put_nowait(request)

    async def _understand(self, received: Received) -> tuple[Order, Side]:
        message = received.request
        asked = message.model_name, message.model_version
        served = self._sides.served(*asked)
        # Only for requests that can be carried out: there are no more such names than versions have.
        order = read(received, served, self._limits)
        return order, await self._sides.side(*asked, served)

    async def _enter(self, request: _Request, limit: int) -> None:
        """Wait until the answers that are held leave room for that of `request`, or there are none."""
        while self._held and self._held + request.size > limit:
            self._sent.clear()
            await self._sent.wait()
        self._held += request.size
        self._unanswered[request] = None

    async def _take_in(self, request: _Request, order: Order, side: Side) -> None:
        """Put the images of `request` on their way, each as soon as there is room for it."""
        self._priority = min(tenancy.highest_priority(), order.priority)
        weight = convert.unary_weight(self._priority, order.priority)
        lane, deadline = self._sides.lane(side, weight), convert.deadline_after(order.timeout_s)
        for image in order.images:
            await side.window.enter()
            job = FrameJob(
                frame_id=self._received,
                capture_time=None,
                image=image,
                lane=lane,
                weight=weight,
                selection=order.selection,
                deadline=deadline,
            )
            job.method, job.stream_id = METHOD, order.sequence or self._stream_id
            self._received += 1
            job.answered.add_done_callback(lambda _: side.window.leave())
            await self._begin(job, side.path)
            request.jobs.append(job)

    async def _begin(self, job: FrameJob, path: FramePath) -> None:
        if not path.receive(job):
            return
        if job.following:
            self._tasks.create_task(path.answer_following(job))
            return
        try:
            slot = await path.reserve()
        except asyncio.CancelledError:
            path.abandon((job,))
            raise
        path.admit(job, slot)
        if work := path.answer(job):
            self._tasks.create_task(work)

    def _end_reading(self, _: asyncio.Task[None]) -> None:
        self._reading = False
        self._outbox.put_nowait(None)

    async def _write(self) -> None:
        while self._reading or self._unanswered:
            request = await self._outbox.get()
            if not request:
                continue
            for job in request.jobs:
                if not job.answered.done():
                    await job.answered
            await self._answer(request)
            del self._unanswered[request]
            self._held -= request.size
            self._sent.set()

    async def _answer(self, request: _Request) -> None:
        now = time.monotonic()
        for job in request.jobs:
            job.stages_s[Stage.REPLY] = now - job.answered_at
        try:
            await self._context.write(_message(request))
        except grpc.aio.BaseError as error:
            # The client is gone, and gRPC has not yet cancelled the call for it.
            raise asyncio.CancelledError from error
        for job in request.jobs:
            if request.side:
                request.side.path.replied(job)
            self._outcomes[job.outcome[0]] += 1


def _message(request: _Request) -> _Response:
    try:
        if request.error:
            raise request.error
        if not request.order:
            raise AssertionError("a request without an order has an error")
        check(request.jobs)
        message = _Response(infer_response=response(request.order, request.jobs))
        # There is one answer to each request; clients that allow for more look for this.
        message.infer_response.parameters["triton_final_response"].bool_param = True
    except NasfeatError as error:
        # With the id, clients know which of their requests it was.
        failed = inference_pb2.ModelInferResponse(id=request.request_id)
        return _Response(error_message=str(error), infer_response=failed)
    return message
