"""Which of its servers a client asks: by what is under way at each, what each can do, and which were lost lately."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import grpc.aio

from nasfeat_client._endpoint import Endpoint
from nasfeat_client._forks import note_use
from nasfeat_client._servers import Servers
from nasfeat_client._status import error_of
from nasfeat_client._traces import tracing_of
from nasfeat_client.config import ClientConfig
from nasfeat_client.errors import OverloadedError, ServerUnavailableError

if TYPE_CHECKING:
    # Only its stub file has it.
    from nasfeat.v1.feature_service_pb2_grpc import FeatureServiceAsyncStub as Stub

_Reply = TypeVar("_Reply")
_Metadata: TypeAlias = tuple[tuple[str, str], ...]
Make: TypeAlias = "Callable[[Stub, float | None, _Metadata], grpc.aio.UnaryUnaryCall[Any, _Reply]]"

CLOSED = "the client is closed"


def ranked(endpoints: Sequence[Endpoint], *, now: float, draw: Callable[[], float]) -> list[Endpoint]:
    """Put servers in order.

    Those that serve go before those that do not, as far as that is known, and those that were not lost lately before
    the others; of these, the one whose rest ends first. Then come those that are not overloaded, and of them the one
    with the least of this client's own under way for what it can still do.

    Args:
        endpoints: the servers.
        now: the time in seconds.
        draw: gives numbers from 0 to 1.
    """
    known = [one.load.capacity for one in endpoints if one.load.capacity]
    # Who has said nothing yet counts as the others do on average (gRFC A58).
    typical = sum(known) / len(known) if known else 1.0

    def rank(one: Endpoint) -> tuple[bool, float, bool, float]:
        room = (one.load.capacity or typical) * one.load.spare
        # Chance lets clients that have nothing under way choose by room, and not all choose the same.
        under_way = len(one.calls) + draw()
        return one.is_down, max(0.0, one.rests_until - now), one.load.is_overloaded, under_way / room

    return sorted(endpoints, key=rank)


class Pool:
    """Chooses among servers that are replicas of each other.

    Args:
        targets: "host:port" of each, or names and lists as gRPC writes them.
        config: how to speak to them.
        clock: the time in seconds.
        draw: a number from 0 to 1: puts equals into an order of this client's own, so that not all take the same.

    Attributes:
        tracing: traces what is asked; None if nobody wants that.
    """

    def __init__(
        self,
        targets: Sequence[str],
        config: ClientConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._clock = clock
        self._draw = draw
        self._servers = Servers(targets, config, clock=clock)
        self.closed = False
        self.tracing = tracing_of(config)

    @property
    def connected(self) -> bool:
        """Whether there is a connection, or was, and nobody has closed it."""
        return not self.closed and any(endpoint.opened for endpoint in self._servers.all)

    def __str__(self) -> str:
        return str(self._servers)

    async def in_order(self) -> list[Endpoint]:
        """Give all servers, the one to be tried first in front.

        Raises:
            RuntimeError: the client is closed, or in a process that was forked.
            ServerUnavailableError: there is none, since the names of all cannot be looked up.
        """
        self._check_open()
        note_use()
        try:
            await self._servers.update()
        finally:
            # Another task may have closed it meanwhile.
            self._check_open()
        return ranked(self._servers.endpoints, now=self._clock(), draw=self._draw)

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError(CLOSED)

    async def ask(self, method: str, make: "Make[_Reply]") -> _Reply:
        """Make a call at one server after the other until one answers: all of nasfeat's may be repeated.

        Args:
            method: what is called.
            make: makes it with the stub of a server, within a time, with metadata.

        Raises:
            NasfeatError: what the last one said.
        """
        if not self.tracing:
            return await self._ask(make, ())
        with self.tracing.call(method) as context:
            return await self._ask(make, context)

    async def _ask(self, make: "Make[_Reply]", context: _Metadata) -> _Reply:
        *others, last = await self.in_order()
        for endpoint in others:
            with suppress(ServerUnavailableError, OverloadedError):
                return await self._answer(endpoint, make, context)
        return await self._answer(last, make, context)

    async def _answer(self, endpoint: Endpoint, make: "Make[_Reply]", context: _Metadata) -> _Reply:
        call = make(endpoint.stub, self._config.call_timeout_s, (*endpoint.metadata, *context))
        endpoint.watch(call)
        try:
            reply = await call
        except grpc.aio.AioRpcError as failure:
            error = error_of(failure, endpoint.target)
            if isinstance(error, ServerUnavailableError):
                endpoint.lost()
            raise error from failure
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            # Not this task was cancelled, but the call: another task closed the client.
            raise RuntimeError(CLOSED) from None
        endpoint.answered()
        return reply

    async def close(self) -> None:
        """Disconnect from all; may be called again."""
        self.closed = True
        await self._servers.close()

    def forget(self) -> None:
        """Do nothing more by itself, from any thread: nobody has the client any more."""
        for endpoint in self._servers.all:
            endpoint.forget()
