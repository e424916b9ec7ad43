"""nasfeat's own SDK: `extract`, and a stream held open by each caller."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np

from nasfeat_client import AsyncFeatureClient, Image
from peers.load import Ask


class SdkClient:
    """One client, and so one connection, for all that ask."""

    def __init__(self, address: str, size: int) -> None:
        self._client = AsyncFeatureClient(address)
        self._size = size

    def _image(self, picture: bytes, load: str) -> Image:
        return picture if load == "jpeg" else np.frombuffer(picture, np.uint8).reshape(self._size, self._size, 3)

    @contextlib.asynccontextmanager
    async def session(self, way: str, load: str) -> AsyncGenerator[Ask, None]:
        """Give a caller its way to ask."""
        if way == "unary":

            async def extract(picture: bytes) -> Any:
                return (await self._client.extract(self._image(picture, load))).vector

            yield extract
            return
        async with self._client.open_stream() as stream:

            async def send(picture: bytes) -> Any:
                await stream.send(self._image(picture, load))
                return (await anext(stream)).vector

            yield send

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


def open_client(address: str, size: int) -> SdkClient:
    """Make a client of the server at host:port."""
    return SdkClient(address, size)
