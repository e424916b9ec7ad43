"""HTTP by aiohttp: a picture is the body of a POST, its features are the body of the answer, float32."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp

from peers.load import Ask

_TIMEOUT = aiohttp.ClientTimeout(total=120)


def body(picture: bytes) -> Any:
    """Send a picture as it is."""
    return picture


class HttpClient:
    """One pool of connections, as many as there are requests at once.

    Args:
        address: host:port of the server.
        body_of: makes the body of a picture.
    """

    def __init__(self, address: str, body_of: Callable[[bytes], Any] = body) -> None:
        self._body_of = body_of
        self._url = f"http://{address}/features"
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=_TIMEOUT)

    @contextlib.asynccontextmanager
    async def session(self, way: str, load: str) -> AsyncGenerator[Ask, None]:
        """Give a caller its way to ask."""

        async def ask(picture: bytes) -> bytes:
            async with self._session.post(self._url, data=self._body_of(picture)) as response:
                answer: bytes = await response.read()
                if response.status != 200:
                    raise RuntimeError(f"{response.status}: {answer[:300]!r}")
                return answer

        yield ask

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def open_client(address: str, size: int) -> HttpClient:
    """Make a client of the server at host:port."""
    return HttpClient(address)
