"""What one writes first: grpc.aio and a function of the model, each picture alone, on a thread so that calls go on."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc.aio

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from peers.model import Model, load_model, pixels_of
from peers.servers import arguments


class Plain(feature_service_pb2_grpc.FeatureServiceServicer):
    """Answers unary calls and streams, with nasfeat's messages; knows no option of theirs."""

    def __init__(self, model: Model, size: int) -> None:
        self._model = model
        self._size = size
        # One at a time: TensorFlow takes all cores for each.
        self._thread = ThreadPoolExecutor(1)

    def _features(self, image: Any) -> bytes:
        pixels = pixels_of(image.raw.data or image.encoded, self._size)
        return bytes(self._model(pixels[None])[0])

    async def _answer(self, result: Any, image: Any) -> None:
        values = await asyncio.get_running_loop().run_in_executor(self._thread, self._features, image)
        result.features.features.add(output="global_pool", shape=[len(values) // 4], values=values)

    async def ExtractFeatures(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name on the wire
        """Answer the images of a call, one after the other."""
        response = feature_service_pb2.ExtractFeaturesResponse()
        for image in request.images:
            await self._answer(response.results.add(), image)
        return response

    async def StreamFeatures(self, request_iterator: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Answer frame after frame."""
        async for request in request_iterator:
            response = feature_service_pb2.StreamFeaturesResponse()
            if request.HasField("options"):
                response.granted.SetInParent()
            else:
                response.result.frame_id = request.frame.frame_id
                await self._answer(response.result, request.frame.image)
            yield response


async def main() -> None:
    """Serve until killed."""
    told = arguments()
    server = grpc.aio.server()
    plain = Plain(load_model(told.model), told.size)  # type: ignore[abstract]
    feature_service_pb2_grpc.add_FeatureServiceServicer_to_server(plain, server)
    server.add_insecure_port(f"{told.host}:{told.port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
