"""One bidirectional stream: as many frames in flight as the server granted, one result for each, whatever is lost."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import grpc.aio

from nasfeat.v1 import feature_service_pb2
from nasfeat_client._opening import Call, Opened, Opener
from nasfeat_client._parcel import Parcel
from nasfeat_client._pool import CLOSED
from nasfeat_client._result_stream import Told
from nasfeat_client._results import result_of, summary_of
from nasfeat_client._source import PackedFrame
from nasfeat_client._status import error_of
from nasfeat_client._supply import Supply
from nasfeat_client._window import Window
from nasfeat_client.config import ClientConfig
from nasfeat_client.errors import (
    InvalidImageError,
    NasfeatError,
    ServerUnavailableError,
    UnexpectedReplyError,
)
from nasfeat_client.images import Frame
from nasfeat_client.result import FrameError, Result
from nasfeat_client.types import DeliveryOrder, ErrorReason, StreamGrant, Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What comes after a stream's last result: nothing, or why it ended."""

    failure: Exception | None


class FrameStream:
    """The life of one stream, over as many calls as it takes.

    A frame enters the window before it is taken from its source and leaves it when the caller takes its result: an
    endless source and a slow caller cost the window and nothing more. Frames are kept until they are answered; when a
    call is lost the next one begins with them.

    Args:
        opener: opens its calls.
        told: where the caller reads of the stream.
        config: how to speak to servers.
    """

    def __init__(self, opener: Opener, told: Told, config: ClientConfig) -> None:
        self._opener = opener
        self._told = told
        self._config = config
        # The server that has the stream, or had it last.
        self._target = ""
        self._window = Window(0)
        self._last_frame_id = -1
        # The frames without a result, as they went, and the results that wait for earlier ones.
        self._unanswered: dict[int, feature_service_pb2.StreamFeaturesRequest | None] = {}
        self._early: dict[int, Result] = {}
        self._outbox: asyncio.Queue[Result | _End] = asyncio.Queue()
        # Room in the window for the frame that is taken next.
        self._has_room = False
        self._exhausted = False
        self._source_failure: Exception | None = None
        self._sent_all = False
        self._spans = opener.frame_spans()

    async def results(self, frames: AsyncGenerator[PackedFrame, None]) -> AsyncGenerator[Result, None]:
        """Send `frames` and give their results; however this is left, `frames` is closed then and no task is left.

        Raises:
            NasfeatError: the stream failed.
            Exception: what `frames` raised, after the results of those before.
        """
        supply = Supply(frames)
        # A TaskGroup cannot own this: a generator may be closed by another task than the one that started it.
        running = asyncio.create_task(self._run(supply))
        try:
            while not isinstance(item := await self._outbox.get(), _End):
                self._window.leave()
                yield item
            if item.failure:
                raise item.failure
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            if self._spans:
                self._spans.close()
            # Here and not in its task, which may be cancelled in the middle of it.
            await supply.close()

    async def _run(self, supply: Supply) -> None:
        failure: Exception | None
        try:
            opened = self._granted(await self._opener.open())
            while isinstance(failure := await self._converse(opened, supply), ServerUnavailableError):
                opened = self._granted(await self._opener.reopen(opened, failure, len(self._unanswered)))
                self._told.resumptions += 1
        except Exception as error:  # noqa: BLE001 - it is the caller's, who waits for it
            failure = error
        except asyncio.CancelledError:
            # Nobody takes this if the stream is being left; otherwise the channel was closed under it.
            self._outbox.put_nowait(_End(failure=RuntimeError(CLOSED)))
            raise
        self._outbox.put_nowait(_End(failure=failure))

    def _granted(self, opened: Opened) -> Opened:
        self._target = opened.endpoint.target
        self._window.resize(opened.grant.options.window or 1)
        self._told.grant, self._told.window = opened.grant, self._window
        self._told.granted.set()
        return opened

    async def _converse(self, opened: Opened, supply: Supply) -> Exception | None:
        """Send and receive until the call ends; returns why, None if all is done."""
        sending = asyncio.create_task(self._send(opened, supply))
        try:
            async for reply in opened.replies:
                self._hear(reply, opened.grant)
        except grpc.aio.AioRpcError as error:
            return error_of(error, self._target)
        except NasfeatError as error:
            return error
        else:
            return self._failure_at_end()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            opened.call.cancel()

    async def _send(self, opened: Opened, supply: Supply) -> None:
        # A write that fails ends this task: the reader learns why.
        self._sent_all = False
        parcel = Parcel(max_frames=opened.grant.options.frames_per_message, max_bytes=self._config.max_message_bytes)
        for frame_id, request in tuple(self._unanswered.items()):
            if request and frame_id not in self._early:
                await self._put(opened.call, parcel, request)
        await self._flush(opened.call, parcel)
        while packed := await self._next(supply):
            request = self._register(packed, opened.grant)
            if request:
                await self._put(opened.call, parcel, request)
            if parcel.full or not self._window.has_room:
                await self._flush(opened.call, parcel)
        await self._flush(opened.call, parcel)
        self._sent_all = True
        await opened.call.done_writing()

    async def _next(self, supply: Supply) -> PackedFrame | None:
        """Take the next frame, once there is room for it; None if there is none, or its source failed."""
        if self._exhausted:
            return None
        if not self._has_room:
            await self._window.enter()
            self._has_room = True
        try:
            packed = await supply.take()
            if packed:
                self._last_frame_id = self._next_id(packed.frame)
        except Exception as error:  # noqa: BLE001 - whatever the caller's iterable raises is the caller's to see
            self._source_failure = error
            packed = None
        self._has_room = False
        self._exhausted = packed is None
        return packed

    def _next_id(self, frame: Frame) -> int:
        frame_id = self._last_frame_id + 1 if frame.frame_id is None else frame.frame_id
        if frame_id <= self._last_frame_id:
            raise ValueError(f"frame id {frame_id} came after {self._last_frame_id}: the ids of a stream must increase")
        return frame_id

    def _register(self, packed: PackedFrame, grant: StreamGrant) -> feature_service_pb2.StreamFeaturesRequest | None:
        """Note that a frame waits for its result, which it has at once if there is nothing to send."""
        frame_id = self._last_frame_id
        if isinstance(packed.request, InvalidImageError):
            self._unanswered[frame_id] = None
            self._settle(_failed(frame_id, packed.frame, packed.request, grant), grant)
            return None
        packed.request.frame.frame_id = frame_id
        if self._spans:
            self._spans.begin(packed.frame, packed.request, grant.options.stream_id)
        self._unanswered[frame_id] = packed.request
        return packed.request

    async def _put(self, call: Call, parcel: Parcel, request: feature_service_pb2.StreamFeaturesRequest) -> None:
        if not parcel.has_room_for(request):
            await self._flush(call, parcel)
        parcel.add(request)

    async def _flush(self, call: Call, parcel: Parcel) -> None:
        if parcel:
            await call.write(parcel.take())

    def _hear(self, reply: feature_service_pb2.StreamFeaturesResponse, grant: StreamGrant) -> None:
        # What a newer server may send beside these is not for this SDK.
        match reply.WhichOneof("message"):
            case "result":
                self._answer(reply.result, grant)
            case "results":
                for result in reply.results.results:
                    self._answer(result, grant)
            case "window_update":
                if not reply.window_update.window:
                    raise UnexpectedReplyError(f"{self._target} closed the window of the stream")
                self._window.resize(reply.window_update.window)
            case "summary":
                self._told.summary = summary_of(reply.summary)

    def _answer(self, message: feature_service_pb2.FrameResult, grant: StreamGrant) -> None:
        self._opener.answered()
        self._settle(result_of(message, grant.identity, top_k=grant.options.top_k), grant)

    def _failure_at_end(self) -> Exception | None:
        if self._unanswered or not self._sent_all:
            return UnexpectedReplyError(
                f"{self._target} ended the stream with {len(self._unanswered)} frames unanswered"
            )
        return self._source_failure

    def _settle(self, result: Result, grant: StreamGrant) -> None:
        if result.frame_id not in self._unanswered:
            raise UnexpectedReplyError(f"{self._target} answered frame {result.frame_id}, which was not waiting")
        if self._spans:
            self._spans.end(result)
        if grant.options.delivery_order is not DeliveryOrder.ORDERED:
            del self._unanswered[result.frame_id]
            self._outbox.put_nowait(result)
            return
        self._early[result.frame_id] = result
        while self._unanswered and (first := next(iter(self._unanswered))) in self._early:
            del self._unanswered[first]
            self._outbox.put_nowait(self._early.pop(first))


def _failed(frame_id: int, frame: Frame, error: InvalidImageError, grant: StreamGrant) -> Result:
    return Result(
        frame_id=frame_id,
        capture_time=frame.capture_time,
        error=FrameError(reason=ErrorReason.INVALID_IMAGE, message=str(error)),
        identity=grant.identity,
        timings=Timings(),
        stream_id=grant.options.stream_id,
    )
