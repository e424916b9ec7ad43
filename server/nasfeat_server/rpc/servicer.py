"""FeatureService: every call of the wire, counted and with its errors turned into statuses."""

from collections.abc import AsyncIterator

import grpc.aio

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from nasfeat_server.config import RequestLimits
from nasfeat_server.errors import InvalidRequestError
from nasfeat_server.rpc import convert, tenancy, tracing
from nasfeat_server.rpc.answering import Answering
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.rpc.open_streams import OpenStreams
from nasfeat_server.rpc.payload import ReceivedCall, ReceivedMessage
from nasfeat_server.rpc.stream import StreamSession
from nasfeat_server.rpc.unary import extract

ExtractContext = grpc.aio.ServicerContext[
    feature_service_pb2.ExtractFeaturesRequest, feature_service_pb2.ExtractFeaturesResponse
]
StreamContext = grpc.aio.ServicerContext[
    feature_service_pb2.StreamFeaturesRequest, feature_service_pb2.StreamFeaturesResponse
]
GetModelContext = grpc.aio.ServicerContext[feature_service_pb2.GetModelRequest, feature_service_pb2.GetModelResponse]
ListModelsContext = grpc.aio.ServicerContext[
    feature_service_pb2.ListModelsRequest, feature_service_pb2.ListModelsResponse
]


class FeatureServicer(feature_service_pb2_grpc.FeatureServiceServicer):
    """Serves the versions of one model.

    Args:
        catalog: the versions.
        limits: what a request may ask for.
        answering: ends every call.
        streams: those that are open.
    """

    def __init__(self, *, catalog: Catalog, limits: RequestLimits, answering: Answering, streams: OpenStreams) -> None:
        self._catalog = catalog
        self._limits = limits
        self._answering = answering
        self._streams = streams

    # The generated types know messages as protobuf parses them.
    async def ExtractFeatures(  # type: ignore[override]
        self, received: ReceivedCall, context: ExtractContext
    ) -> feature_service_pb2.ExtractFeaturesResponse:
        """Answer a unary call: its images are worked on side by side, a bad one fails alone."""
        async with self._answering("ExtractFeatures", context):
            if received.problem:
                raise InvalidRequestError(received.problem)
            self._streams.check_running()
            served = self._catalog.choose(received.request.model)
            with served.calls.under_way():
                response = await extract(
                    received,
                    path=tracing.path_of_call(tenancy.path_of_caller(served.path)),
                    weight=convert.unary_weight(tenancy.highest_priority()),
                    description=served.description,
                    limits=self._limits,
                    timeout_s=context.time_remaining(),
                )
            # Once, not in each result.
            response.identity.CopyFrom(served.model.identity)
            return response

    # The generated types know generators only; grpc.aio also takes handlers that write, and those can be cancelled.
    async def StreamFeatures(  # type: ignore[override]
        self, request_iterator: AsyncIterator[ReceivedMessage], context: StreamContext
    ) -> None:
        """Grant a stream and answer its frames until the client has sent the last."""
        async with self._answering("StreamFeatures", context):
            self._streams.check_running()
            # Nothing is sent before the grant, not even metadata: until then a refused stream may be retried.
            options = await _opening(request_iterator)
            served = self._catalog.choose(options.model)
            served.path.dispatcher.check_up()
            tenancy.cap_priority(options)
            terms = convert.stream_terms(options, served.description, self._limits)
            granted = feature_service_pb2.StreamGranted(
                options=convert.granted_options(options, terms),
                identity=served.model.identity,
                feature_length=served.model.feature_length,
            )
            path = tracing.path_of_call(tenancy.path_of_caller(served.path))
            stream = StreamSession(path=path, terms=terms, granted=granted, windows=served.windows, context=context)
            # Its version first, in the turn of the loop that chose it: that is there for as long as it has calls.
            with served.calls.streaming(stream):
                async with tenancy.counted(stream):
                    with self._streams.opened(stream, terms.overload.value):
                        await stream.run(request_iterator)

    async def GetModel(
        self, request: feature_service_pb2.GetModelRequest, context: GetModelContext
    ) -> feature_service_pb2.GetModelResponse:
        """Describe the model."""
        async with self._answering("GetModel", context):
            model = self._catalog.find(request.name).model
            return feature_service_pb2.GetModelResponse(model=model)

    async def ListModels(
        self, request: feature_service_pb2.ListModelsRequest, context: ListModelsContext
    ) -> feature_service_pb2.ListModelsResponse:
        """Describe every version that is served."""
        del request
        async with self._answering("ListModels", context):
            models = [served.model for served in self._catalog.served]
            return feature_service_pb2.ListModelsResponse(models=models)


async def _opening(requests: AsyncIterator[ReceivedMessage]) -> feature_service_pb2.StreamOptions:
    first = await anext(requests, None)
    if first is None or first.request.WhichOneof("message") != "options":
        problem = first.problem if first else ""
        raise InvalidRequestError(problem or "the first message of a stream must be its options")
    return first.request.options
