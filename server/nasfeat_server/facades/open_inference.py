"""The Open Inference Protocol, KServe's version 2, with those of Triton's extensions that its clients rely on.

Its messages are of a package of our own, as those of TensorFlow Serving are and for the same reason.
"""

import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import grpc
import grpc.aio

from nasfeat.inference.v2 import inference_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.facades import open_inference_models as models
from nasfeat_server.facades.open_inference_receive import Received, receive
from nasfeat_server.facades.open_inference_requests import Order, check, read, response
from nasfeat_server.facades.open_inference_stream import METHOD, OVERLOAD, InferStream
from nasfeat_server.rpc import convert, tenancy, tracing
from nasfeat_server.rpc.answering import Answering
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.rpc.control import ServerState
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.rpc.open_streams import OpenStreams
from nasfeat_server.rpc.service import Service
from nasfeat_server.rpc.unary import answer

_Context = grpc.aio.ServicerContext[Any, Any]
_Response = inference_pb2.ModelInferResponse

_SERVICE = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_NAME = f"inference.{_SERVICE.name}"
# As Triton calls its own.
_EXTENSIONS = ("classification", "model_configuration", "parameters", "schedule_policy", "sequence", "statistics")


class OpenInference:
    """Serves the versions of one model as Triton would.

    Args:
        catalog: the versions.
        limits: what a request may ask for.
        answering: ends every call.
        streams: those that are open.
        state: says what is served, and whether it takes work.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        limits: RequestLimits,
        answering: Answering,
        streams: OpenStreams,
        state: Callable[[], ServerState],
    ) -> None:
        self._catalog = catalog
        self._limits = limits
        self._answering = answering
        self._streams = streams
        self._state = state

    def services(self) -> tuple[Service, ...]:
        """Give what is to be registered."""
        described: Mapping[str, Callable[[Any], Any]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
        }
        handlers = {name: self._described(name, describe) for name, describe in described.items()}
        handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(
            self._model_infer, request_deserializer=receive, response_serializer=_Response.SerializeToString
        )
        handlers[METHOD] = grpc.stream_stream_rpc_method_handler(
            self._model_stream_infer,
            request_deserializer=receive,
            response_serializer=inference_pb2.ModelStreamInferResponse.SerializeToString,
        )
        requests = {method.name: method.input_type for method in _SERVICE.methods}
        return (Service(name=_NAME, requests=requests, handlers=handlers),)

    def _described(self, name: str, describe: Callable[[Any], Any]) -> "grpc.RpcMethodHandler[Any, Any]":
        """Make the handler of a method that tells and changes nothing."""

        async def handle(request: Any, context: _Context) -> Any:
            async with self._answering(name, context):
                return describe(request)

        kind = getattr(inference_pb2, _SERVICE.methods_by_name[name].input_type.name)
        answered = getattr(inference_pb2, _SERVICE.methods_by_name[name].output_type.name)
        return grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=kind.FromString, response_serializer=answered.SerializeToString
        )

    def _server_live(self, _: object) -> inference_pb2.ServerLiveResponse:
        return inference_pb2.ServerLiveResponse(live=True)

    def _server_ready(self, _: object) -> inference_pb2.ServerReadyResponse:
        return inference_pb2.ServerReadyResponse(ready=self._state().ready)

    def _model_ready(self, request: inference_pb2.ModelReadyRequest) -> inference_pb2.ModelReadyResponse:
        ready = models.is_ready(self._state(), self._catalog, request.name, request.version)
        return inference_pb2.ModelReadyResponse(ready=ready)

    def _server_metadata(self, _: object) -> inference_pb2.ServerMetadataResponse:
        return inference_pb2.ServerMetadataResponse(name="nasfeat", version=version("nasfeat"), extensions=_EXTENSIONS)

    def _model_metadata(self, request: inference_pb2.ModelMetadataRequest) -> inference_pb2.ModelMetadataResponse:
        return models.metadata(self._catalog, request.name, request.version)

    def _model_config(self, request: inference_pb2.ModelConfigRequest) -> inference_pb2.ModelConfigResponse:
        config = models.config(self._catalog, request.name, request.version, self._limits)
        return inference_pb2.ModelConfigResponse(config=config)

    def _model_statistics(self, request: inference_pb2.ModelStatisticsRequest) -> inference_pb2.ModelStatisticsResponse:
        return models.statistics(self._catalog, request.name, request.version)

    def _repository_index(self, request: inference_pb2.RepositoryIndexRequest) -> inference_pb2.RepositoryIndexResponse:
        return models.index(self._state(), ready=request.ready)

    async def _model_infer(self, received: Received, context: _Context) -> _Response:
        """Compute the images of a request side by side; one that fails fails the request."""
        async with self._answering("ModelInfer", context):
            self._streams.check_running()
            request = received.request
            served = models.choose(self._catalog, request.model_name, request.model_version)
            order = read(received, served, self._limits)
            with served.calls.under_way():
                jobs = await self._answer(order, context)
            check(jobs)
            return response(order, jobs)

    async def _answer(self, order: Order, context: _Context) -> Sequence[FrameJob]:
        times = [seconds for seconds in (order.timeout_s, context.time_remaining()) if seconds is not None]
        return await answer(
            order.images,
            order.selection,
            path=_path_of(order.served.path),
            weight=convert.unary_weight(tenancy.highest_priority(), order.priority),
            limits=self._limits,
            timeout_s=min(times, default=None),
            method="ModelInfer",
        )

    async def _model_stream_infer(self, requests: AsyncIterator[Received], context: _Context) -> None:
        """Answer requests until the client has sent the last."""
        async with self._answering(METHOD, context):
            self._streams.check_running()
            stream = InferStream(
                choose=functools.partial(models.choose, self._catalog),
                path_of=_path_of,
                limits=self._limits,
                refused=functools.partial(self._answering.refused, METHOD),
                context=context,
            )
            async with tenancy.counted(stream):
                with self._streams.opened(stream, OVERLOAD):
                    await stream.run(requests)


def _path_of(path: FramePath) -> FramePath:
    return tracing.path_of_call(tenancy.path_of_caller(path))
