"""Messages of many megabytes."""

import asyncio
import contextlib
from typing import Any

import grpc.aio
import numpy as np
import pytest

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc, image_pb2
from nasfeat_client import AsyncFeatureClient, InvalidImageError
from serving import frame, next_result, opening, running

_MIB = 2**20
_UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


def _rows(mib: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Make an RGB picture of so many MiB."""
    return np.zeros((mib * _MIB // (3 * 4096), 4096, 3), np.uint8)


@pytest.mark.parametrize("mib", [5, 63])
async def test_large_images_work_by_default(mib: int) -> None:
    """Row 1: five and 63 MiB of pixels pass from the SDK to the server, both as they are configured by default."""
    async with running() as app, AsyncFeatureClient(str(app.listening)) as client:
        assert (await client.extract(_rows(mib))).vector.shape == (768,)
        [result] = [result async for result in client.stream([_rows(mib)])]
        assert result.ok


async def test_large_results_work_by_default() -> None:
    """Row 1: sixty MiB of activations pass from the server to a client in one message."""
    async with running(variant="large") as app:
        async with AsyncFeatureClient(str(app.listening)) as client:
            shapes = (await client.model()).output_shapes
        nbytes = 4 * int(np.prod(shapes["Cell_0"]))
        count = 60 * _MIB // nbytes
        images = [image_pb2.Image(raw=_raw(331))] * count
        async with grpc.aio.insecure_channel(str(app.listening), options=_UNLIMITED) as channel:
            stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
            request = feature_service_pb2.ExtractFeaturesRequest(images=images, outputs=["Cell_0"])
            reply = await stub.ExtractFeatures(request)
    assert reply.ByteSize() > count * nbytes > 50 * _MIB


def _raw(size: int) -> image_pb2.RawImage:
    data = bytes(size * size * 3)
    return image_pb2.RawImage(data=data, pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=size, width=size)


async def test_above_the_limit_the_limit_is_named_and_others_are_unharmed() -> None:
    """Row 1: what is too large ends alone with RESOURCE_EXHAUSTED; a stream beside it on the connection goes on."""
    async with running() as app, grpc.aio.insecure_channel(str(app.listening), options=_UNLIMITED) as channel:
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        beside: Any = stub.StreamFeatures()
        await beside.write(opening())
        await beside.write(frame(0))
        assert await next_result(beside)
        limit = app.config.limits.max_message_bytes
        await _refused(stub, limit)
        await _refused_on_a_stream(stub, limit)
        await beside.write(frame(1))
        result = await next_result(beside)
        assert result
        assert result.HasField("features")
        beside.cancel()


async def _refused(stub: Any, limit: int) -> None:
    image = image_pb2.Image(encoded=bytes(limit + 1))
    with pytest.raises(grpc.aio.AioRpcError, match=str(limit)) as caught:
        await stub.ExtractFeatures(feature_service_pb2.ExtractFeaturesRequest(images=[image]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def _refused_on_a_stream(stub: Any, limit: int) -> None:
    call = stub.StreamFeatures()
    await call.write(opening())
    await call.read()
    with contextlib.suppress(grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        await call.write(frame(0, image_pb2.Image(encoded=bytes(limit + 1))))
    # The stream's summary can come before its status, which gRPC then keeps back until that has been read.
    with contextlib.suppress(grpc.RpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(limit) in await call.details()


async def test_the_sdk_knows_before_it_sends() -> None:
    """Row 1: an image above the client's own limit is refused there, with both numbers; the stream goes on."""
    async with running() as app, AsyncFeatureClient(str(app.listening)) as client:
        with pytest.raises(InvalidImageError, match=r"takes 83877906 bytes.*leaves room for 68156416"):
            await client.extract(_rows(80))
        results = [result async for result in client.stream([_rows(1), _rows(80), _rows(1)])]
        assert [result.ok for result in results] == [True, False, True]
