"""The streams that are open, of whatever protocol: how many there may be, and their end when the server stops."""

import contextlib
import time
from collections.abc import Iterator

from nasfeat_server.errors import OverloadedError, ShuttingDownError
from nasfeat_server.rpc.live import OpenStream
from nasfeat_server.telemetry.events import Observer, StreamClosed, StreamOpened

# A server that stops closes a connection with its last call. A client that is sending then loses what it has not read
# yet, since the kernel answers data that nobody will read with a reset: it gets this time to read.
_LINGER_S = 0.5


class OpenStreams:
    """Counts the streams of the whole server.

    Args:
        limit: how many there may be.
        observer: told of each.
    """

    def __init__(self, *, limit: int, observer: Observer) -> None:
        self._limit = limit
        self._observer = observer
        self._streams: set[OpenStream] = set()
        self._stopping = False

    def drain(self) -> None:
        """Take no new work; streams end once what they have in flight is answered."""
        self._stopping = True
        for stream in self._streams:
            why = ShuttingDownError("the server is stopping; send the unanswered frames elsewhere")
            stream.stop_reading(why, linger_s=_LINGER_S)

    def check_running(self) -> None:
        """Do nothing while new work is taken.

        Raises:
            ShuttingDownError: none is.
        """
        if self._stopping:
            raise ShuttingDownError("the server is stopping")

    @contextlib.contextmanager
    def opened(self, stream: OpenStream, overload: str) -> Iterator[None]:
        """Count `stream` for as long as the context lasts; `overload` is what becomes of its frames then.

        Raises:
            OverloadedError: on entering: there are as many as there may be.
        """
        if len(self._streams) >= self._limit:
            raise OverloadedError(f"{self._limit} streams are open, which is the limit; try again later")
        opened_at = time.monotonic()
        self._streams.add(stream)
        self._observer.observe(StreamOpened(overload=overload))
        try:
            yield
        finally:
            self._streams.remove(stream)
            self._observer.observe(StreamClosed(overload=overload, duration_s=time.monotonic() - opened_at))
