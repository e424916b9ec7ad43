"""The life of a stream in turns of the event loop that no client could time."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from eventlog import EventLog
from nasfeat.v1 import feature_pb2, image_pb2
from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.errors import ShuttingDownError
from nasfeat_server.imaging.types import ImageLimits
from nasfeat_server.rpc.convert import StreamTerms
from nasfeat_server.rpc.frames import FrameJob, FramePath
from nasfeat_server.rpc.outputs import Selection
from nasfeat_server.rpc.stream import StreamSession
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.slots import SlotPool
from serving import Request

_NOTHING = Selection(asked=(), computed=(), shapes=(), nbytes=0, top_k=0, labels=())


def _path(log: EventLog) -> FramePath:
    arena = Arena.create(ArenaLayout(slots=2, image_height=4, image_width=4, result_bytes=16))
    slots = SlotPool(2)
    return FramePath(
        slots=slots,
        dispatcher=Dispatcher(slots=slots, buckets=(1,), collect=arena.take_results, observer=log),
        images=arena.images,
        decoders=ThreadPoolExecutor(1),
        undecoded=asyncio.Semaphore(2),
        limits=ImageLimits(max_bytes=1000, max_pixels=1000),
        observer=log,
    )


async def _never() -> AsyncIterator[Request]:
    await asyncio.Event().wait()
    yield Request()


async def test_a_stream_stopped_before_its_first_read_ends() -> None:
    """The server stops in the very turn in which a stream begins: the stream ends with the reason, at once."""
    context: Any = None
    terms = StreamTerms(ordered=True, weight=1.0, window=2, frame_deadline_s=None, selection=_NOTHING)
    session = StreamSession(path=_path(EventLog()), terms=terms, identity=feature_pb2.ModelIdentity(), context=context)
    running = asyncio.ensure_future(session.run(_never()))
    await asyncio.sleep(0)
    session.stop_reading(ShuttingDownError("stopping"))
    with pytest.raises(ShuttingDownError, match="stopping"):
        await running


async def test_what_was_never_received_is_not_counted_as_finished() -> None:
    """A call that is cancelled before its images are looked at leaves the count of images in flight as it was."""
    log = EventLog()
    job = FrameJob(frame_id=0, capture_time=None, image=image_pb2.Image(), lane=1, selection=_NOTHING, deadline=None)
    _path(log).abandon([job])
    assert log.events == []
