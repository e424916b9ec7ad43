"""Messages between the server's own processes: many small ones, sent together once in a turn of the loop."""

import asyncio
import functools
import marshal
import struct
from collections.abc import Callable, Mapping
from typing import Any, cast

_HEADER = struct.Struct("<I")
# The channel of what is said of no version of the model.
_OWN = 0

Handler = Callable[..., None]


class Link(asyncio.Protocol):
    """One end of a connected socket. A message is a name and plain values: numbers, texts, bytes, tuples, None.

    Messages arrive in their order, over all channels. One that its receiver does not know, or cannot make sense of,
    ends the link: both ends are the same program. Those of a channel that is not open any more are dropped: what it was
    for is gone, and they were on their way.

    Args:
        handlers: for each name, what takes the message's values.
        lost: called once when the other end is gone.
    """

    def __init__(self, handlers: Mapping[str, Handler], lost: Callable[[], None] = lambda: None) -> None:
        self._channels: dict[int, Mapping[str, Handler]] = {_OWN: handlers}
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[tuple[Any, ...]] = []
        self._incoming = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to send."""
        self._transport = cast("asyncio.Transport", transport)
        if self._outgoing:
            self.flush()

    def connection_lost(self, _: Exception | None) -> None:
        """Tell that the other end is gone."""
        self._transport = None
        self._outgoing.clear()
        self._lost()

    def open(self, channel: int, handlers: Mapping[str, Handler]) -> Callable[..., None]:
        """Hear messages of a `channel`, a number from 1 that is never used again; returns what sends them."""
        self._channels[channel] = handlers
        return functools.partial(self._send, channel)

    def shut(self, channel: int) -> None:
        """Hear messages of `channel` no more."""
        self._channels.pop(channel, None)

    def send(self, *message: Any) -> None:
        """Send `message` with all others of this turn of the loop; without effect once the other end is gone."""
        self._send(_OWN, *message)

    def _send(self, *message: Any) -> None:
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self.flush)
        self._outgoing.append(message)

    def flush(self) -> None:
        """Send what there is now."""
        if self._transport and self._outgoing:
            content = marshal.dumps(self._outgoing)
            self._outgoing.clear()
            self._transport.write(_HEADER.pack(len(content)) + content)

    def close(self) -> None:
        """Send what there is and hang up."""
        self.flush()
        if self._transport:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take every message that has come as a whole."""
        incoming, start = self._incoming, 0
        incoming += data
        while len(incoming) - start >= _HEADER.size:
            (size,) = _HEADER.unpack_from(incoming, start)
            end = start + _HEADER.size + size
            if len(incoming) < end:
                break
            # It comes from the same program, over a socket that nobody else has.
            messages = marshal.loads(incoming[start + _HEADER.size : end])  # noqa: S302
            start = end
            for channel, name, *values in messages:
                if handlers := self._channels.get(channel):
                    handlers[name](*values)
        del incoming[:start]
