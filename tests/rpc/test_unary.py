"""ExtractFeatures, GetModel and ListModels and reflection over a real server."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from nasfeat_server.app import App
from nasfeat_server.config import RequestLimits
from serving import connected, pixels, running


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a server with one free replica."""
    async with running() as app:
        yield app


async def test_images_are_answered_in_order_and_a_bad_one_fails_alone(app: App) -> None:
    """One call with a bad image between good ones: three results, the model named once."""
    images = [pixels(1), image_pb2.Image(encoded=b""), pixels(2)]
    async with connected(app) as stub:
        response = await stub.ExtractFeatures(feature_service_pb2.ExtractFeaturesRequest(images=images))
    assert [result.frame_id for result in response.results] == [0, 1, 2]
    assert [result.WhichOneof("outcome") for result in response.results] == ["features", "error", "features"]
    assert response.results[1].error.reason == feature_pb2.ERROR_REASON_INVALID_IMAGE
    assert response.identity.name == "fake_nasnet_cifar"
    assert not response.results[0].HasField("identity")


@pytest.mark.parametrize("count", [0, 33])
async def test_a_call_with_no_or_too_many_images_is_refused(app: App, count: int) -> None:
    """The limit is told, and where to go with more."""
    request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(0)] * count)
    async with connected(app) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=f"a call takes 1 to 32 images, not {count}") as caught:
            await stub.ExtractFeatures(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_model_tells_its_sizes_and_limits(app: App) -> None:
    """GetModel by no name, by its name and through the list gives the same; another name is not found."""
    async with connected(app) as stub:
        unnamed = await stub.GetModel(feature_service_pb2.GetModelRequest())
        named = await stub.GetModel(feature_service_pb2.GetModelRequest(name="fake_nasnet_cifar"))
        listed = await stub.ListModels(feature_service_pb2.ListModelsRequest())
        with pytest.raises(grpc.aio.AioRpcError, match="no model 'resnet' here, only 'fake_nasnet_cifar'") as caught:
            await stub.GetModel(feature_service_pb2.GetModelRequest(name="resnet"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert unnamed.model == named.model == listed.models[0]
    assert (unnamed.model.image_height, unnamed.model.image_width, unnamed.model.feature_length) == (32, 32, 768)
    assert unnamed.model.limits.max_image_bytes == RequestLimits().max_image_bytes


@pytest.mark.parametrize("mebibytes", [5, 64])
async def test_large_messages_work_by_default(mebibytes: int) -> None:
    """An image file of 5 or 64 MiB is taken: it is an image's content that is judged, not the message's size."""
    data = b"x" * (mebibytes * 2**20)
    options = [("grpc.max_send_message_length", -1)]
    async with running() as app, grpc.aio.insecure_channel(str(app.listening), options) as channel:
        call = channel.unary_unary(
            "/nasfeat.v1.FeatureService/ExtractFeatures",
            request_serializer=feature_service_pb2.ExtractFeaturesRequest.SerializeToString,
            response_deserializer=feature_service_pb2.ExtractFeaturesResponse.FromString,
        )
        request = feature_service_pb2.ExtractFeaturesRequest(images=[image_pb2.Image(encoded=data)])
        response = await call(request)
        assert response.results[0].error.reason == feature_pb2.ERROR_REASON_INVALID_IMAGE
        too_large = feature_service_pb2.ExtractFeaturesRequest(
            images=[image_pb2.Image(encoded=data)] * (70 // mebibytes + 1)
        )
        with pytest.raises(grpc.aio.AioRpcError, match=str(RequestLimits().max_message_bytes)) as caught:
            await call(too_large)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await call(request)).results


async def test_reflection_is_served(app: App) -> None:
    """Reflection lists what there is."""
    async with grpc.aio.insecure_channel(str(app.listening)) as channel:
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = {service.name async for reply in call for service in reply.list_services_response.service}
    assert {"nasfeat.v1.FeatureService", "grpc.health.v1.Health"} <= names
