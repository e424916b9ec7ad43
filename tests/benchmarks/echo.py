"""The reference for what serving costs: a bare grpc.aio server that answers each frame with a ready-made result.

It speaks the same messages as nasfeat, decodes and schedules nothing, and prints its address when it listens: on the
host:port that it is told, or on any free port.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc.aio

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc

_FEATURE_BYTES = 4032 * 4


class Echo(feature_service_pb2_grpc.FeatureServiceServicer):
    """Grants every stream and answers every frame at once."""

    async def StreamFeatures(  # noqa: N802 - the name on the wire
        self,
        request_iterator: AsyncIterator[feature_service_pb2.StreamFeaturesRequest],
        context: grpc.aio.ServicerContext[
            feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse
        ],
    ) -> AsyncIterator[feature_service_pb2.StreamFeaturesResponse]:
        """Answer each message with one of the size that its results have."""
        values = bytes(_FEATURE_BYTES)
        async for request in request_iterator:
            response = feature_service_pb2.StreamFeaturesResponse()
            match request.WhichOneof("message"):
                case "options":
                    response.granted.SetInParent()
                case "frame":
                    _answer(response.result, request.frame.frame_id, values)
                case "frames":
                    for frame in request.frames.frames:
                        _answer(response.results.results.add(), frame.frame_id, values)
            yield response


def _answer(result: feature_service_pb2.FrameResult, frame_id: int, values: bytes) -> None:
    result.frame_id = frame_id
    result.features.features.add(output="global_pool", shape=[4032], values=values)


async def main() -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    port = server.add_insecure_port(sys.argv[1] if sys.argv[1:] else "127.0.0.1:0")
    feature_service_pb2_grpc.add_FeatureServiceServicer_to_server(Echo(), server)  # type: ignore[abstract]
    await server.start()
    print(f"serving echo on 127.0.0.1:{port}, metrics on none", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
