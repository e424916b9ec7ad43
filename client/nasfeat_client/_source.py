"""The caller's frames, taken one at a time and never on the event loop's own time."""

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from nasfeat.v1.feature_service_pb2 import StreamFeaturesRequest
from nasfeat_client._requests import frame_request
from nasfeat_client.errors import InvalidImageError
from nasfeat_client.images import Frame, Image

Frames: TypeAlias = Iterable[Image | Frame] | AsyncIterable[Image | Frame]

_END: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedFrame:
    """A frame and the message that sends it once it has its id, or why there is none."""

    frame: Frame
    request: StreamFeaturesRequest | InvalidImageError


async def packed_frames(frames: Frames, max_message_bytes: int) -> AsyncGenerator[PackedFrame, None]:
    """Take and pack each frame of `frames` when asked for it; `frames` is closed at the end, if it can be.

    A plain iterable runs in a thread of this stream's own, as does the packing: both may block, on files or cameras.
    """
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, thread_name_prefix="nasfeat-frames")
    items = _taken(frames) if isinstance(frames, AsyncIterable) else _pulled(frames, thread)
    try:
        async with aclosing(items):
            async for item in items:
                yield await loop.run_in_executor(thread, _packed, item, max_message_bytes)
    finally:
        thread.shutdown(wait=False)


async def _taken(frames: AsyncIterable[Image | Frame]) -> AsyncGenerator[Image | Frame, None]:
    iterator = aiter(frames)
    try:
        async for item in iterator:
            yield item
    finally:
        await _closed(iterator)


async def _closed(iterator: AsyncIterator[Any]) -> None:
    if isinstance(iterator, AsyncGenerator):
        await iterator.aclose()


async def _pulled(frames: Iterable[Image | Frame], thread: ThreadPoolExecutor) -> AsyncGenerator[Image | Frame, None]:
    in_thread = functools.partial(asyncio.get_running_loop().run_in_executor, thread)
    iterator = iter(frames)
    try:
        while (item := await in_thread(next, iterator, _END)) is not _END:
            yield item
    finally:
        # The one thread does this after a `next` that may still be under way there.
        await in_thread(getattr(iterator, "close", int))


def _packed(item: Image | Frame, max_message_bytes: int) -> PackedFrame:
    frame = item if isinstance(item, Frame) else Frame(item)
    try:
        return PackedFrame(frame=frame, request=frame_request(frame, max_message_bytes))
    except InvalidImageError as error:
        return PackedFrame(frame=frame, request=error)
