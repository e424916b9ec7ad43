"""What a server does the first time that it is asked: threads and descriptors that it then keeps."""

import asyncio

import grpc.aio
from tests.soak.pictures import make_pictures
from tests.soak.plan import drawing

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc


async def warm_up(address: str) -> None:
    """Make every decoding thread start, and every output be asked for once."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        model = (await stub.GetModel(feature_service_pb2.GetModelRequest())).model
        images = make_pictures(model, drawing(0, "warmth")).sound
        request = feature_service_pb2.ExtractFeaturesRequest(images=images)
        await asyncio.gather(*(stub.ExtractFeatures(request) for _ in range(16)))
