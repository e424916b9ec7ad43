"""A TCP tunnel that can go dead as a network does: nothing passes any more, and nobody is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Tunnel:
    """Carries connections to a server.

    Attributes:
        target: where clients connect.
        connections: how many there have been.
        ended: how many a side has closed.
        carried: bytes that have passed, both ways.
    """

    def __init__(self, server: str) -> None:
        """Lead to `server`, "host:port"."""
        self._host, _, self._port = server.rpartition(":")
        # One for each connection that passes; who waits for it when it is cleared waits for ever.
        self._passing: set[asyncio.Event] = set()
        self.target = ""
        self.connections = 0
        self.ended = 0
        self.carried = 0

    def cut(self) -> None:
        """Let nothing pass on the connections that there are, not even their end; new ones pass."""
        for passing in self._passing:
            passing.clear()
        self._passing.clear()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until a side closes it."""
        self.connections += 1
        passing = asyncio.Event()
        passing.set()
        self._passing.add(passing)
        far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        ways = (self._pass(reader, far_writer, passing), self._pass(far_reader, writer, passing))
        try:
            await asyncio.gather(*ways)
        finally:
            writer.close()
            far_writer.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(2**16):
                await passing.wait()
                self.carried += len(data)
                sink.write(data)
                await sink.drain()
        self.ended += 1
        await passing.wait()
        sink.close()


@contextlib.asynccontextmanager
async def tunnel(server: str) -> AsyncIterator[Tunnel]:
    """Lead to `server` until the context ends."""
    made = Tunnel(server)
    carrying: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying.add(asyncio.ensure_future(made.carry(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    made.target = f"{host}:{port}"
    try:
        yield made
    finally:
        listening.close()
        for connection in carrying:
            connection.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
