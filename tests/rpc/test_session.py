"""The life of a stream in turns of the event loop that no client could time."""

import asyncio
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc.aio
import pytest

from eventlog import EventLog
from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.errors import ShuttingDownError
from nasfeat_server.imaging.types import ImageLimits
from nasfeat_server.rpc.convert import StreamTerms
from nasfeat_server.rpc.decoding import Decoding
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.rpc.outputs import Selection
from nasfeat_server.rpc.payload import Received, ReceivedMessage
from nasfeat_server.rpc.stream import StreamSession
from nasfeat_server.rpc.telling import Standing
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.overload import OverloadPolicy
from nasfeat_server.scheduling.sharing import Sharing
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.windows import WindowKeeper
from serving import Request

_NOTHING = Selection(asked=(), computed=(), shapes=(), nbytes=0, top_k=0, labels=())
_TERMS = StreamTerms(
    stream_id="",
    ordered=True,
    overload=OverloadPolicy.BLOCK,
    backlog=1,
    weight=1.0,
    window=2,
    frames_per_message=1,
    frame_deadline_s=None,
    selection=_NOTHING,
)


def _path(log: EventLog) -> FramePath:
    arena = Arena.create(ArenaLayout(slots=2, image_height=4, image_width=4, result_bytes=16))
    slots = SlotPool(2)
    return FramePath(
        slots=slots,
        dispatcher=Dispatcher(slots=slots, buckets=(1,), collect=arena.take_results, outage_s=60, observer=log),
        decoding=Decoding(
            images=arena.images,
            threads=ThreadPoolExecutor(1),
            room=asyncio.Semaphore(2),
            limits=ImageLimits(max_bytes=1000, max_pixels=1000),
        ),
        sharing=Sharing(cache=None, max_bytes=0),
        digest_key=bytes(32),
        observer=log,
        standing=Standing(),
    )


class _Sent:
    """A call's context that remembers what was written."""

    def __init__(self) -> None:
        self.messages: list[feature_service_pb2.StreamFeaturesResponse] = []

    async def write(self, message: feature_service_pb2.StreamFeaturesResponse) -> None:
        self.messages.append(message)


async def _never() -> AsyncIterator[ReceivedMessage]:
    await asyncio.Event().wait()
    yield Received(Request(), ())


async def test_a_stream_stopped_before_its_first_read_ends() -> None:
    """The server stops in the very turn in which a stream begins: the stream ends with the reason, at once."""
    context: Any = _Sent()
    session = StreamSession(
        path=_path(EventLog()),
        terms=_TERMS,
        granted=feature_service_pb2.StreamGranted(),
        windows=WindowKeeper(2),
        context=context,
    )
    running = asyncio.ensure_future(session.run(_never()))
    await asyncio.sleep(0)
    session.stop_reading(ShuttingDownError("stopping"))
    with pytest.raises(ShuttingDownError, match="stopping"):
        await running
    assert [message.WhichOneof("message") for message in context.messages] == ["granted", "summary"]


class _Gone(_Sent):
    """A call whose client has gone away, and which gRPC has not cancelled yet."""

    async def write(self, message: feature_service_pb2.StreamFeaturesResponse) -> None:
        raise grpc.aio.InternalError


async def test_a_client_that_is_gone_is_a_cancelled_call() -> None:
    """A reply that cannot be sent any more is nobody's failure: the stream ends as if it had been cancelled."""
    context: Any = _Gone()
    session = StreamSession(
        path=_path(EventLog()),
        terms=_TERMS,
        granted=feature_service_pb2.StreamGranted(),
        windows=WindowKeeper(2),
        context=context,
    )
    with pytest.raises(asyncio.CancelledError):
        await session.run(_never())


async def test_what_was_never_received_is_not_counted_as_finished() -> None:
    """A call that is cancelled before its images are looked at leaves the count of images in flight as it was."""
    log = EventLog()
    job = FrameJob(
        frame_id=0,
        capture_time=None,
        image=image_pb2.Image(),
        lane=1,
        weight=1.0,
        selection=_NOTHING,
        deadline=None,
    )
    _path(log).abandon([job])
    assert log.events == []


async def test_an_error_that_comes_as_its_frame_is_abandoned_is_nobodys() -> None:
    """A frame is superseded and its client leaves in the same turn: asyncio has no error to complain of."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    path = _path(EventLog())
    lane = path.dispatcher.open_lane(1.0)
    raw = image_pb2.RawImage(data=bytes(48), pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=4, width=4)
    job = FrameJob(
        frame_id=0,
        capture_time=None,
        image=image_pb2.Image(raw=raw),
        lane=lane,
        weight=1.0,
        selection=_NOTHING,
        deadline=None,
    )
    assert path.receive(job)
    path.admit(job, await path.reserve())
    assert path.answer(job) is None
    path.dispatcher.supersede_oldest(lane)
    path.abandon([job])
    del job
    for _ in range(3):
        await asyncio.sleep(0)
        gc.collect()
    assert complaints == []
