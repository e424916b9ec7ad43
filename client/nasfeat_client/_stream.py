"""One bidirectional stream: as many frames in flight as the server granted, one result for each."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import grpc.aio

from nasfeat.v1 import feature_service_pb2
from nasfeat_client._parcel import Parcel
from nasfeat_client._result_stream import Told
from nasfeat_client._results import grant_of, result_of, summary_of
from nasfeat_client._source import PackedFrame
from nasfeat_client._status import error_of
from nasfeat_client._window import Window
from nasfeat_client.config import ClientConfig
from nasfeat_client.errors import DeadlinePassedError, InvalidImageError, NasfeatError, UnexpectedReplyError
from nasfeat_client.images import Frame
from nasfeat_client.result import FrameError, Result
from nasfeat_client.types import DeliveryOrder, ErrorReason, StreamGrant, Timings

Call = grpc.aio.StreamStreamCall[feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse]
_Replies = AsyncIterator[feature_service_pb2.StreamFeaturesResponse]

CLOSED = "the client is closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What comes after a stream's last result: nothing, or why it ended."""

    failure: Exception | None


class FrameStream:
    """The life of one granted stream.

    A frame enters the window before it is taken from its source and leaves it when the caller takes its result: an
    endless source and a slow caller cost the window and nothing more.
    """

    def __init__(
        self, call: Call, replies: _Replies, grant: StreamGrant, told: Told, target: str, *, max_message_bytes: int
    ) -> None:
        self._call = call
        self._replies = replies
        self._target = target
        self._top_k = grant.options.top_k
        self._identity = grant.identity
        self._stream_id = grant.options.stream_id
        self._ordered = grant.options.delivery_order is DeliveryOrder.ORDERED
        self._told = told
        self._window = told.window = Window(grant.options.window or 1)
        self._parcel = Parcel(max_frames=grant.options.frames_per_message, max_bytes=max_message_bytes)
        told.grant = grant
        self._last_frame_id = -1
        # The ids of the frames without a result, as they went, and the results that wait for earlier ones.
        self._unanswered: deque[int] = deque()
        self._early: dict[int, Result] = {}
        self._outbox: asyncio.Queue[Result | _End] = asyncio.Queue()
        self._sent_all = False
        self._send_failure: Exception | None = None

    async def results(self, frames: AsyncGenerator[PackedFrame, None]) -> AsyncGenerator[Result, None]:
        """Send `frames` and give their results; however this is left, `frames` is closed then and no task is left.

        Raises:
            NasfeatError: the stream failed.
            Exception: what `frames` raised, after the results of those before.
        """
        # A TaskGroup cannot own these: a generator may be closed by another task than the one that started it.
        tasks = (asyncio.create_task(self._send(frames)), asyncio.create_task(self._read()))
        try:
            while not isinstance(item := await self._outbox.get(), _End):
                self._window.leave()
                yield item
            if item.failure:
                raise item.failure
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Here and not in its task, which may be cancelled in the middle of it.
            await frames.aclose()

    async def _send(self, frames: AsyncGenerator[PackedFrame, None]) -> None:
        try:
            await self._window.enter()
            async for packed in frames:
                await self._add(packed)
                if self._parcel.full or not self._window.has_room:
                    await self._send_parcel()
                await self._window.enter()
        except Exception as error:  # noqa: BLE001 - whatever the caller's iterable raises is the caller's to see
            # Or the call is over, and the reader, which comes first, learns why.
            self._send_failure = error
        await self._send_parcel()
        self._sent_all = True
        await self._call.done_writing()

    async def _add(self, packed: PackedFrame) -> None:
        frame_id = self._next_id(packed.frame)
        if isinstance(packed.request, InvalidImageError):
            self._unanswered.append(frame_id)
            self._settle(self._failed(frame_id, packed.frame, packed.request))
            return
        packed.request.frame.frame_id = frame_id
        if not self._parcel.has_room_for(packed.request):
            await self._send_parcel()
        self._unanswered.append(frame_id)
        self._parcel.add(packed.request)

    async def _send_parcel(self) -> None:
        if self._parcel:
            await self._call.write(self._parcel.take())

    def _next_id(self, frame: Frame) -> int:
        frame_id = self._last_frame_id + 1 if frame.frame_id is None else frame.frame_id
        if frame_id <= self._last_frame_id:
            raise ValueError(f"frame id {frame_id} came after {self._last_frame_id}: the ids of a stream must increase")
        self._last_frame_id = frame_id
        return frame_id

    def _failed(self, frame_id: int, frame: Frame, error: InvalidImageError) -> Result:
        return Result(
            frame_id=frame_id,
            capture_time=frame.capture_time,
            error=FrameError(reason=ErrorReason.INVALID_IMAGE, message=str(error)),
            identity=self._identity,
            timings=Timings(),
            stream_id=self._stream_id,
        )

    async def _read(self) -> None:
        try:
            async for reply in self._replies:
                self._hear(reply)
            failure = self._failure_at_end()
        except grpc.aio.AioRpcError as error:
            failure = error_of(error, self._target)
        except NasfeatError as error:
            failure = error
        except asyncio.CancelledError:
            # Nobody takes this if the stream is being left; otherwise the channel was closed under it.
            self._outbox.put_nowait(_End(failure=RuntimeError(CLOSED)))
            raise
        self._outbox.put_nowait(_End(failure=failure))

    def _hear(self, reply: feature_service_pb2.StreamFeaturesResponse) -> None:
        # What a newer server may send beside these is not for this SDK.
        match reply.WhichOneof("message"):
            case "result":
                self._settle(result_of(reply.result, self._identity, top_k=self._top_k))
            case "results":
                for result in reply.results.results:
                    self._settle(result_of(result, self._identity, top_k=self._top_k))
            case "window_update":
                if not reply.window_update.window:
                    raise UnexpectedReplyError(f"{self._target} closed the window of the stream")
                self._window.resize(reply.window_update.window)
            case "summary":
                self._told.summary = summary_of(reply.summary)

    def _failure_at_end(self) -> Exception | None:
        if self._unanswered or not self._sent_all:
            return UnexpectedReplyError(
                f"{self._target} ended the stream with {len(self._unanswered)} frames unanswered"
            )
        return self._send_failure

    def _settle(self, result: Result) -> None:
        if result.frame_id not in self._unanswered:
            raise UnexpectedReplyError(f"{self._target} answered frame {result.frame_id}, which was not waiting")
        if not self._ordered:
            self._unanswered.remove(result.frame_id)
            self._outbox.put_nowait(result)
            return
        self._early[result.frame_id] = result
        while self._unanswered and self._unanswered[0] in self._early:
            self._outbox.put_nowait(self._early.pop(self._unanswered.popleft()))


async def open_stream(
    call: Call, options: feature_service_pb2.StreamOptions, told: Told, target: str, config: ClientConfig
) -> FrameStream:
    """Send a stream's options and wait until they are granted; a call that failed to open is cancelled.

    Raises:
        NasfeatError: the server cannot be reached, refuses the options, or does not answer within the call's timeout.
    """
    timeout_s = config.call_timeout_s
    # Not `call.read`, which refuses what was received before a write failed.
    replies = aiter(call)
    try:
        async with asyncio.timeout(timeout_s):
            await call.write(feature_service_pb2.StreamFeaturesRequest(options=options))
            reply = await anext(replies, None)
    except grpc.aio.AioRpcError as error:
        raise error_of(error, target) from error
    except TimeoutError as error:
        raise DeadlinePassedError(f"{target} did not open the stream within {timeout_s:g} s") from error
    if not reply or not reply.granted.options.window:
        raise UnexpectedReplyError(f"{target} did not open the stream with a grant")
    # A server that does not know `top_k` does not grant it either; it is missed with the first result.
    reply.granted.options.top_k = options.top_k
    grant = grant_of(reply.granted)
    return FrameStream(call, replies, grant, told, target, max_message_bytes=config.max_message_bytes)
