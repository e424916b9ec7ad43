"""tritonclient's gRPC client for asyncio: `infer`, and `stream_infer` on a stream held open by each caller.

There are two models: "raw" takes pixels as a tensor of uint8, "jpeg" a file as a tensor of one string of bytes.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

from peers.load import Ask


class TritonClient:
    """One client, and so one connection, for all that ask."""

    def __init__(self, address: str, size: int) -> None:
        self._client = triton.InferenceServerClient(address)
        self._size = size

    def _input(self, picture: bytes, load: str) -> Any:
        if load == "raw":
            tensor = triton.InferInput("pictures", [1, self._size, self._size, 3], "UINT8")
            tensor.set_data_from_numpy(np.frombuffer(picture, np.uint8).reshape(1, self._size, self._size, 3))
        else:
            tensor = triton.InferInput("pictures", [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[picture]], np.object_))
        return tensor

    @contextlib.asynccontextmanager
    async def session(self, way: str, load: str) -> AsyncGenerator[Ask, None]:
        """Give a caller its way to ask."""
        if way == "unary":

            async def infer(picture: bytes) -> Any:
                result = await self._client.infer(load, [self._input(picture, load)])
                return result.as_numpy("features")[0]

            yield infer
            return
        requests: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

        async def waiting() -> AsyncGenerator[dict[str, Any], None]:
            while request := await requests.get():
                yield request

        answers = self._client.stream_infer(waiting())

        async def send(picture: bytes) -> Any:
            requests.put_nowait({"model_name": load, "inputs": [self._input(picture, load)]})
            result, error = await anext(answers)
            if error:
                raise RuntimeError(str(error))
            return result.as_numpy("features")[0]

        yield send
        requests.put_nowait(None)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


def open_client(address: str, size: int) -> TritonClient:
    """Make a client of the server at host:port, for pictures of `size`."""
    return TritonClient(address, size)
