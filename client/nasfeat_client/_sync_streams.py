"""Streams for programs without asyncio."""

from collections.abc import Generator
from contextlib import suppress
from types import TracebackType
from typing import Self

from nasfeat_client._loop import LoopThread
from nasfeat_client._open_stream import AsyncOpenStream
from nasfeat_client._result_stream import AsyncResultStream
from nasfeat_client.images import Frame, Image
from nasfeat_client.result import Result
from nasfeat_client.types import StreamGrant, StreamSummary


class _Told:
    """What a stream says of itself."""

    def __init__(self, source: AsyncResultStream) -> None:
        self._source = source

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._source!r}>"

    def __iter__(self) -> Self:
        return self

    @property
    def grant(self) -> StreamGrant | None:
        """What the server granted, when it was opened last; None before the first result."""
        return self._source.grant

    @property
    def window(self) -> int | None:
        """The frames that may be in flight now, which the server adjusts to its load; None before the first result."""
        return self._source.window

    @property
    def summary(self) -> StreamSummary | None:
        """What became of all frames, after the last result; None before, and from servers that send none.

        Of a stream that was resumed it is what its last call brought.
        """
        return self._source.summary

    @property
    def resumptions(self) -> int:
        """How often the stream has been opened again after its server was lost."""
        return self._source.resumptions


class ResultStream(_Told):
    """The results of one stream, an iterator that can be run through once.

    It opens the stream when its first result is asked for. Leave it with `close`, or use `contextlib.closing`.
    """

    def __init__(self, results: Generator[Result, None, None], source: AsyncResultStream) -> None:
        super().__init__(source)
        self._results = results

    def __next__(self) -> Result:
        return next(self._results)

    def close(self) -> None:
        """End the call and close the source of its frames; may be called again."""
        self._results.close()


class OpenStream(_Told):
    """A stream for programs that have no iterable of frames, to be used in a `with` block.

    It is opened when the block is entered. One thread sends while another one iterates over the results: a frame is
    taken only while there is room in the stream's window, and results that nobody takes keep their room. Leaving the
    block gives up what has no result yet; to have them all, `end` the stream and iterate to its end.
    """

    def __init__(self, stream: AsyncOpenStream, loop: LoopThread, opened: set[AsyncResultStream]) -> None:
        super().__init__(stream)
        self._stream = stream
        self._loop = loop
        self._opened = opened

    def __enter__(self) -> Self:
        """Open the stream.

        Raises:
            NasfeatError: no server grants it.
        """
        self._loop.run(self._stream.__aenter__)
        self._opened.add(self._stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __next__(self) -> Result:
        result = self._loop.run(self._following)
        if result is None:
            raise StopIteration
        return result

    async def _following(self) -> Result | None:
        return await anext(self._stream, None)

    def send(self, image: Image | Frame) -> None:
        """Send one frame; waits until the stream takes it, which it does while its window has room.

        Args:
            image: the picture, or a `Frame` where its id and capture time matter.

        Raises:
            NasfeatError: the stream has failed.
            RuntimeError: it has been ended, or left.
        """
        self._loop.run(self._stream.send, image)

    def end(self) -> None:
        """Say that no frame follows; the results of those that were sent still come, and then the iteration ends."""
        self._loop.run(self._stream.end)

    def close(self) -> None:
        """Give up what has no result yet; may be called again."""
        # A closed client has ended the stream already.
        with suppress(RuntimeError):
            self._loop.run(self._stream.aclose)
        self._opened.discard(self._stream)
