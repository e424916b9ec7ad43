"""Actors without Ray: what would run on a node runs on a loop of the test's own process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from nasfeat_server.engine.remote_replica import Message, RemoteReplica
from nasfeat_server.errors import ReplicaLostError


class NearActor:
    """Calls a `RemoteReplica` as `nasfeat_server.engine.ray_cluster.RayActor` would, and dies when it is told to.

    Attributes:
        replica: what is called.
        sent: whatever was left in the object store, in order.
        cause: why it is dead, once it is.
        room: whether the object store has any.
    """

    wants = "a place in this process"

    def __init__(self) -> None:
        """Live until killed."""
        self.replica = RemoteReplica()
        self.sent: list[Any] = []
        self.room: Exception | None = None
        self.placed = asyncio.Event()
        self.placed.set()
        self.cause: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def hello(self) -> Message:
        """Say that it is on the only node, once `placed` is set."""
        await self._alive(self.placed.wait())
        return {**await self.replica.hello(), "node": "the only node"}

    async def call(self, method: str, arguments: Callable[[], tuple[Any, ...]]) -> Any:
        """Call a method, unless it dies before the answer."""
        # Packed by another thread, as with Ray.
        packed = await asyncio.to_thread(arguments)
        return await self._alive(getattr(self.replica, method)(*packed))

    async def load(self, *arguments: Any) -> AsyncIterator[Message]:
        """Load, unless it dies."""
        messages = self.replica.load(*arguments)
        while message := await self._alive(anext(messages, None)):
            yield message

    def put(self, value: Any) -> Any:
        """Keep what was sent, where there is room."""
        if self.room:
            raise self.room
        self.sent.append(value)
        return value

    async def lost(self) -> str:
        """Wait for the death."""
        return await asyncio.shield(self.cause)

    async def kill(self) -> None:
        """Die as if killed."""
        self.die("killed")

    def die(self, cause: str) -> None:
        """Die of `cause`; whoever waits for an answer hears of it."""
        if not self.cause.done():
            self.cause.set_result(cause)
            # What the end of a process would do.
            self.replica._holding.close()
            self.replica._device.shutdown(wait=False)
            self.replica._finishing.shutdown(wait=False)

    async def _alive(self, answer: Any) -> Any:
        asking = asyncio.ensure_future(answer)
        await asyncio.wait({asking, self.cause}, return_when=asyncio.FIRST_COMPLETED)
        if self.cause.done():
            asking.cancel()
            raise ReplicaLostError("the actor died")
        return asking.result()
