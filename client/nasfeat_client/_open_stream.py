"""A stream that is held open: frames go in when there are some, results come out when they are ready."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from nasfeat_client._result_stream import AsyncResultStream, Told
from nasfeat_client._source import Frames
from nasfeat_client.images import Frame, Image
from nasfeat_client.result import Result


@dataclass(frozen=True, slots=True, eq=False)
class SentFrame(Frame):
    """A frame and where its sender was: a trace that it belongs to is found there."""

    context: Context = field(kw_only=True)

    @classmethod
    def here(cls, image: Image | Frame) -> Self:
        """Note where this is called from."""
        frame = image if isinstance(image, Frame) else Frame(image)
        return cls(
            frame.image, frame_id=frame.frame_id, capture_time=frame.capture_time, context=contextvars.copy_context()
        )


class AsyncOpenStream(AsyncResultStream):
    """A stream for programs that have no iterable of frames, to be used in an `async with` block.

    It is opened when the block is entered. One task sends while another one iterates over the results: a frame is
    taken only while there is room in the stream's window, and results that nobody takes keep their room. Leaving the
    block gives up what has no result yet; to have them all, `end` the stream and iterate to its end.

    Args:
        stream: gives the results of frames, as `AsyncFeatureClient.stream` does.
        told: what is said of the stream.
    """

    def __init__(self, stream: Callable[[Frames], AsyncGenerator[Result, None]], told: Told) -> None:
        super().__init__(stream(self._sent()), told)
        self._changed = asyncio.Condition()
        # One at a time: whoever sends waits until the stream has taken it.
        self._outgoing: list[SentFrame] = []
        self._ended = False
        self._over = False
        self._failure: Exception | None = None
        # None is the end.
        self._ready: asyncio.Queue[Result | None] = asyncio.Queue(1)
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the stream.

        Raises:
            NasfeatError: no server grants it.
        """
        self._pump = asyncio.create_task(self._run())
        granted = asyncio.create_task(self._told.granted.wait())
        try:
            await asyncio.wait((granted, self._pump), return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self.aclose()
            raise
        finally:
            granted.cancel()
        if self._failure:
            raise self._failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def __anext__(self) -> Result:
        result = await self._ready.get()
        if result:
            return result
        # For whoever asks again.
        self._ready.put_nowait(None)
        if self._failure:
            raise self._failure
        raise StopAsyncIteration

    async def send(self, image: Image | Frame) -> None:
        """Send one frame; waits until the stream takes it, which it does while its window has room.

        Args:
            image: the picture, or a `Frame` where its id and capture time matter.

        Raises:
            NasfeatError: the stream has failed.
            RuntimeError: it has been ended, or left.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._over or not self._outgoing)
            if self._failure:
                raise self._failure
            if self._ended or self._over or not self._pump:
                raise RuntimeError("the stream is not open for frames")
            self._outgoing.append(SentFrame.here(image))
            self._changed.notify_all()

    async def end(self) -> None:
        """Say that no frame follows; the results of those that were sent still come, and then the iteration ends."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def aclose(self) -> None:
        """Give up what has no result yet; may be called again."""
        if self._pump:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            while not self._ready.empty():
                self._ready.get_nowait()
            self._ready.put_nowait(None)
        await super().aclose()

    async def _sent(self) -> AsyncGenerator[Image | Frame, None]:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._ended or self._outgoing)
                if not self._outgoing:
                    return
                image = self._outgoing.pop()
                self._changed.notify_all()
            yield image

    async def _run(self) -> None:
        try:
            async for result in self._results:
                await self._ready.put(result)
        except Exception as error:  # noqa: BLE001 - it is the caller's, who sends or iterates
            self._failure = error
        finally:
            self._over = True
            async with self._changed:
                self._changed.notify_all()
        await self._ready.put(None)
