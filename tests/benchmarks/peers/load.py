"""The load generator: so many clients, each of which asks, waits for the answer and asks again.

It runs in the environment of the peer, with the peer's own client, and takes orders as lines of JSON:
{"first": seconds, "load"} asks for the first picture until there is an answer; {"way", "load", "clients", "warm_s",
"seconds"}
makes a load, and says when its measured part begins and what came of it.
"""

import asyncio
import contextlib
import importlib
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from peers.percentiles import percentile
from peers.pictures import Pictures, read_pictures

# Takes a picture's bytes; returns its features, float32, as bytes or as an array.
Ask = Callable[[bytes], Awaitable[Any]]


class Client(Protocol):
    """How a peer is asked; one connection, or pool of connections, for all that ask."""

    def session(self, way: str, load: str) -> contextlib.AbstractAsyncContextManager[Ask]:
        """Give a caller what it asks with: "unary" calls, or a "stream" of its own."""

    async def close(self) -> None:
        """Close the connections."""


class Open(Protocol):
    """What every module of `peers.clients` has as `open_client`."""

    def __call__(self, address: str, size: int) -> Client:
        """Make a client of the server at host:port, for pictures of `size`, inside a running loop."""


async def first_answer(
    client_of: Callable[[], Client], pictures: Pictures, asked: tuple[str, str], limit_s: float
) -> Any:
    """Ask in the way and with the load `asked` until there is an answer, with a new connection each time.

    Raises:
        TimeoutError: there was none within `limit_s`; says why the last try failed.
    """
    ends_at, last = time.monotonic() + limit_s, "nothing was tried"
    while time.monotonic() < ends_at:
        client = client_of()
        try:
            async with asyncio.timeout(max(0.1, ends_at - time.monotonic())), client.session(*asked) as ask:
                return await ask(pictures.of(asked[1])[0])
        except Exception as error:  # noqa: BLE001 - each client has errors of its own
            last = repr(error)
        finally:
            await client.close()
        await asyncio.sleep(0.1)
    raise TimeoutError(f"no answer within {limit_s:g} s: {last}")


class _Run:
    """One load; latencies count while `measuring`."""

    def __init__(self, client: Client, pictures: tuple[bytes, ...], order: dict[str, Any]) -> None:
        self._client = client
        self._pictures = pictures
        self._order = order
        self._going = True
        self.measuring = False
        self.latencies_s: list[float] = []

    async def _caller(self, number: int) -> None:
        # Each has pictures of its own: the same one is never on its way twice.
        own = self._pictures[number :: self._order["clients"]]
        turn = 0
        async with self._client.session(self._order["way"], self._order["load"]) as ask:
            while self._going:
                started_at = time.perf_counter()
                answer = await ask(own[turn % len(own)])
                if self.measuring:
                    self.latencies_s.append(time.perf_counter() - started_at)
                if not len(answer):
                    raise RuntimeError("an answer had no features")
                turn += 1

    async def measure(self) -> AsyncGenerator[dict[str, Any], None]:
        async with asyncio.TaskGroup() as callers:
            for number in range(self._order["clients"]):
                callers.create_task(self._caller(number))
            await asyncio.sleep(self._order["warm_s"])
            self.measuring, started_at = True, time.perf_counter()
            yield {"begun": True}
            await asyncio.sleep(self._order["seconds"])
            self.measuring, taken_s = False, time.perf_counter() - started_at
            yield self._summary(taken_s)
            self._going = False

    def _summary(self, taken_s: float) -> dict[str, Any]:
        latencies_ms = [1000 * latency for latency in self.latencies_s]
        if not latencies_ms:
            raise RuntimeError(f"no answer within {taken_s:.1f} s")
        return {
            "images": len(latencies_ms),
            "seconds": taken_s,
            "p50_ms": percentile(latencies_ms, 0.5),
            "p99_ms": percentile(latencies_ms, 0.99),
        }


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def _serve(open_client: Open, address: str, pictures: Pictures, first_way: str) -> None:
    client: Client | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        try:
            if "first" in order:
                answer = await first_answer(
                    lambda: open_client(address, pictures.size), pictures, (first_way, order["load"]), order["first"]
                )
                _say({"answer": bytes(answer).hex()})
                continue
            client = client or open_client(address, pictures.size)
            async for message in _Run(client, pictures.of(order["load"]), order).measure():
                _say(message)
        except Exception as error:  # noqa: BLE001 - told to the benchmark, which goes on with the next peer
            _say({"failed": _reason(error)})
    if client:
        await client.close()


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return repr(error)


def main() -> None:
    """Take orders until there are no more: `load MODULE ADDRESS PICTURES FIRST_WAY`."""
    module, address, directory, first_way = sys.argv[1:]
    open_client: Open = importlib.import_module(f"peers.clients.{module}").open_client
    pictures = read_pictures(Path(directory))
    _say({"ready": True})
    asyncio.run(_serve(open_client, address, pictures, first_way))


if __name__ == "__main__":
    main()
