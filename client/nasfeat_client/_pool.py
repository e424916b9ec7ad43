"""The servers that a client knows: what is under way at each, and which were lost lately."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import grpc.aio

from nasfeat.v1 import feature_service_pb2_grpc
from nasfeat_client._channel import check_secrecy, metadata_of, open_channel
from nasfeat_client._forks import note_use
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

_FIRST_REST_S = 1.0
_LONGEST_REST_S = 30.0


class Endpoint:
    """One connection to a server.

    Attributes:
        target: "host:port".
        calls: the calls and streams under way there.
        metadata: what each of them says beside its request.
    """

    def __init__(self, target: str, config: ClientConfig, clock: Callable[[], float]) -> None:
        self.target = target
        self.calls: set[grpc.aio.Call] = set()
        self.metadata = metadata_of(config)
        self._config = config
        self._clock = clock
        self._channel: grpc.aio.Channel | None = None
        self._service: Stub | None = None
        self._rest_s = 0.0
        self.rests_until = 0.0

    @property
    def stub(self) -> "Stub":
        """What calls are made with; they connect when there is need."""
        if not self._service:
            # Not in the constructor, which may run before the event loop does.
            self._channel = open_channel(self.target, self._config)
            self._service = feature_service_pb2_grpc.FeatureServiceStub(self._channel)
        return self._service

    @property
    def opened(self) -> bool:
        """Whether a call was made."""
        return self._channel is not None

    def watch(self, call: grpc.aio.Call) -> None:
        """Count `call` until it ends."""
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)

    def lost(self) -> None:
        """Note that the server could not be reached, or was lost: others go before it for a while, longer each time."""
        self._rest_s = min(_LONGEST_REST_S, 2 * self._rest_s or _FIRST_REST_S)
        self.rests_until = self._clock() + self._rest_s

    def answered(self) -> None:
        """Note that the server has answered."""
        self._rest_s = self.rests_until = 0.0

    async def close(self) -> None:
        """Give up what is under way and disconnect."""
        # Before grpcio 1.84 closing a channel leaves whoever waits for a reply waiting.
        for call in tuple(self.calls):
            call.cancel()
        if self._channel:
            await self._channel.close()


class Pool:
    """Chooses among servers that are replicas of each other.

    Args:
        targets: "host:port" of each.
        config: how to speak to them.
        clock: the time in seconds.
        shuffle: puts those that are equal into an order of this client's own, so that not all take the same.

    Attributes:
        tracing: traces what is asked; None if nobody wants that.
    """

    def __init__(
        self,
        targets: Sequence[str],
        config: ClientConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        shuffle: Callable[[list[Endpoint]], None] = random.shuffle,
    ) -> None:
        if not targets:
            raise ValueError("there is no target; give one or more of the form host:port")
        for target in targets:
            check_secrecy(target, config)
        self._config = config
        self._clock = clock
        self._shuffle = shuffle
        self._endpoints = [
            Endpoint(target, config, clock) for target in dict.fromkeys(targets) for _ in range(config.connections)
        ]
        self.closed = False
        self.tracing = tracing_of(config)

    @property
    def connected(self) -> bool:
        """Whether there is a connection, or was, and nobody has closed it."""
        return not self.closed and any(endpoint.opened for endpoint in self._endpoints)

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(endpoint.target for endpoint in self._endpoints))

    def in_order(self) -> list[Endpoint]:
        """Give all servers, the one to be tried first in front.

        Those that were not lost lately go before the others, then those with less under way; of those that were, the
        one whose rest ends first.

        Raises:
            RuntimeError: the client is closed, or in a process that was forked.
        """
        if self.closed:
            raise RuntimeError(CLOSED)
        note_use()
        now = self._clock()
        endpoints = self._endpoints.copy()
        self._shuffle(endpoints)
        return sorted(endpoints, key=lambda one: (max(0.0, one.rests_until - now), len(one.calls)))

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
        *others, last = self.in_order()
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
        for endpoint in self._endpoints:
            await endpoint.close()
