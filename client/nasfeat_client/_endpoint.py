"""One connection to one server, and what is known of that."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from nasfeat.v1 import feature_service_pb2_grpc
from nasfeat_client._channel import metadata_of, open_channel
from nasfeat_client._load import ServerLoad
from nasfeat_client._names import Place
from nasfeat_client.config import ClientConfig

if TYPE_CHECKING:
    # Only its stub file has it.
    from nasfeat.v1.feature_service_pb2_grpc import FeatureServiceAsyncStub as Stub

_FIRST_REST_S = 1.0
_LONGEST_REST_S = 30.0


class Endpoint:
    """One connection to a server.

    Args:
        place: where the server is.
        config: how to speak to it.
        load: what the server says of its load.
        clock: the time in seconds.

    Attributes:
        target: what gRPC connects to, as "host:port".
        calls: the calls and streams under way there.
        metadata: what each of them says beside its request.
        load: see there.
        rests_until: when others do not go before it any more.
    """

    def __init__(
        self, place: Place, config: ClientConfig, load: ServerLoad, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.target = place.target
        self.calls: set[grpc.aio.Call] = set()
        self.metadata = metadata_of(config)
        self.load = load
        self._place = place
        self._config = config
        self._clock = clock
        self._one_of_several = False
        self._channel: grpc.aio.Channel | None = None
        self._service: Stub | None = None
        self._following: asyncio.Task[None] | None = None
        self._rest_s = 0.0
        self.rests_until = 0.0

    @property
    def stub(self) -> "Stub":
        """What calls are made with; they connect when there is need."""
        if not self._service:
            # Not in the constructor, which may run before the event loop does.
            self._channel = open_channel(self._place, self._config, one_of_several=self._one_of_several)
            self._service = feature_service_pb2_grpc.FeatureServiceStub(self._channel)
        return self._service

    @property
    def opened(self) -> bool:
        """Whether a call was made."""
        return self._channel is not None

    @property
    def is_down(self) -> bool:
        """Whether it cannot be reached now, or says itself that it does not serve."""
        return self._channel is not None and self._channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE

    def compare(self, *, follow: bool) -> None:
        """Note that there are others, from which it is to be told; connects, to `follow` what it says of its load."""
        if self._one_of_several:
            return
        self._one_of_several = True
        if follow and not self._channel:
            # It makes the channel.
            _ = self.stub
        if follow and self._channel:
            self._following = asyncio.create_task(self.load.follow(self._channel, self.metadata))

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

    def forget(self) -> None:
        """Follow its load no more, from any thread: nobody has the client any more."""
        if self._following and not (loop := self._following.get_loop()).is_closed():
            loop.call_soon_threadsafe(self._following.cancel)

    async def close(self) -> None:
        """Give up what is under way and disconnect."""
        if self._following:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        # Before grpcio 1.84 closing a channel leaves whoever waits for a reply waiting.
        for call in tuple(self.calls):
            call.cancel()
        if self._channel:
            await self._channel.close()
