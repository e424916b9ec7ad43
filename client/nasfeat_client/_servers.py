"""Which servers a client has: those that it was given, and those that the names it was given stand for now."""

import asyncio
import time
from collections.abc import Callable, Sequence

from nasfeat_client._channel import check_secrecy
from nasfeat_client._endpoint import Endpoint
from nasfeat_client._load import ServerLoad
from nasfeat_client._names import Place, is_name, listed, look_up
from nasfeat_client.config import ClientConfig
from nasfeat_client.errors import ServerUnavailableError

# Often enough for servers that are added, and seldom enough for those who answer for names.
_AGE_S = 10.0


class Servers:
    """The connections of a client, `ClientConfig.connections` to each server.

    Args:
        targets: "host:port" of each, or names and lists as gRPC writes them.
        config: how to speak to them.
        clock: the time in seconds.

    Attributes:
        endpoints: the connections.
    """

    def __init__(
        self, targets: Sequence[str], config: ClientConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not targets:
            raise ValueError("there is no target; give one or more of the form host:port")
        for target in targets:
            check_secrecy(target, config)
        self._targets = tuple(dict.fromkeys(targets))
        self._names = [target for target in self._targets if is_name(target)]
        self._found: dict[str, list[Place]] = {}
        self._config = config
        self._clock = clock
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._failure: ServerUnavailableError | None = None
        self._leaving: list[Endpoint] = []
        self.endpoints: list[Endpoint] = []
        self._arrange()

    def __str__(self) -> str:
        return ", ".join(self._targets)

    @property
    def all(self) -> list[Endpoint]:
        """The connections, with those to servers that are none of the client's any more."""
        return [*self.endpoints, *self._leaving]

    async def update(self) -> None:
        """Have the names looked up, if it is time for that; waits for the answers only if there is no server yet.

        Raises:
            ServerUnavailableError: there is none.
        """
        if self._names and self._is_time() and not self._asking:
            self._asking = asyncio.create_task(self._ask())
        if self._asking and not self.endpoints:
            # Not by itself: others may wait for it as well.
            await asyncio.wait((self._asking,))
        if not self.endpoints:
            raise self._failure or ServerUnavailableError(f"{self} has no address")
        # What a name stands for may become several.
        several = bool(self._names) or len({endpoint.target for endpoint in self.endpoints}) > 1
        followed = set()
        for endpoint in self.endpoints if several else ():
            endpoint.compare(follow=endpoint.target not in followed)
            followed.add(endpoint.target)

    def _is_time(self) -> bool:
        return self._asked_at is None or not self.endpoints or self._clock() - self._asked_at >= _AGE_S

    async def _ask(self) -> None:
        try:
            answers = await asyncio.gather(*map(look_up, self._names), return_exceptions=True)
            self._asked_at = self._clock()
            for name, answer in zip(self._names, answers, strict=True):
                # Of a name that nobody answers for now the servers stay that it had.
                if not isinstance(answer, BaseException):
                    self._found[name] = answer
            self._arrange()
            failures = (answer for answer in answers if isinstance(answer, ServerUnavailableError))
            self._failure = next(failures, None)
            await self._let_go()
        finally:
            self._asking = None

    def _arrange(self) -> None:
        places = [place for target in self._targets for place in self._places(target)]
        kept = {endpoint.target: endpoint.load for endpoint in self.endpoints}
        wanted = {place.target: place for place in places}
        self._leaving += [endpoint for endpoint in self.endpoints if endpoint.target not in wanted]
        self.endpoints = [endpoint for endpoint in self.endpoints if endpoint.target in wanted]
        for place in (place for target, place in wanted.items() if target not in kept):
            load = ServerLoad()
            self.endpoints += [
                Endpoint(place, self._config, load, clock=self._clock) for _ in range(self._config.connections)
            ]

    def _places(self, target: str) -> list[Place]:
        return self._found.get(target, []) if is_name(target) else listed(target)

    async def _let_go(self) -> None:
        idle = [endpoint for endpoint in self._leaving if not endpoint.calls]
        self._leaving = [endpoint for endpoint in self._leaving if endpoint.calls]
        for endpoint in idle:
            await endpoint.close()

    async def close(self) -> None:
        """Disconnect from all."""
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        for endpoint in self.all:
            await endpoint.close()
