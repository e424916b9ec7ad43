"""gRPC's own stubs on nasfeat's messages, for the servers that are nothing but gRPC."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import grpc.aio

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc, image_pb2
from peers.load import Ask


class BareClient:
    """One channel, and so one connection, for all that ask."""

    def __init__(self, address: str, size: int) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._stub: Any = feature_service_pb2_grpc.FeatureServiceStub(self._channel)
        self._size = size

    def _image(self, picture: bytes, load: str) -> image_pb2.Image:
        if load == "jpeg":
            return image_pb2.Image(encoded=picture)
        raw = image_pb2.RawImage(
            data=picture, pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=self._size, width=self._size
        )
        return image_pb2.Image(raw=raw)

    @contextlib.asynccontextmanager
    async def session(self, way: str, load: str) -> AsyncGenerator[Ask, None]:
        """Give a caller its way to ask."""
        if way == "unary":

            async def extract(picture: bytes) -> bytes:
                request = feature_service_pb2.ExtractFeaturesRequest(images=[self._image(picture, load)])
                reply = await self._stub.ExtractFeatures(request)
                return _values(reply.results[0])

            yield extract
            return
        call = self._stub.StreamFeatures()
        await call.write(feature_service_pb2.StreamFeaturesRequest(options=feature_service_pb2.StreamOptions()))
        await call.read()

        async def send(picture: bytes) -> bytes:
            frame = feature_service_pb2.Frame(frame_id=1, image=self._image(picture, load))
            await call.write(feature_service_pb2.StreamFeaturesRequest(frame=frame))
            return _values((await call.read()).result)

        yield send
        await call.done_writing()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _values(result: Any) -> bytes:
    values: bytes = result.features.features[0].values
    return values


def open_client(address: str, size: int) -> BareClient:
    """Make a client of the server at host:port, for pictures of `size`."""
    return BareClient(address, size)
