"""TensorFlow Serving's PredictionService and ModelService, as far as they make sense for one network.

Their messages are of a package of our own: a process that has TensorFlow's as well would have two of each name, which
protobuf takes for an error. On the wire messages have no names, only services have.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

from nasfeat.tfserving.v1 import serving_pb2, tensor_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.errors import InvalidImageError, InvalidRequestError
from nasfeat_server.facades import tfserving_models as models
from nasfeat_server.facades.tfserving_receive import Received, receive
from nasfeat_server.facades.tfserving_tensors import Pictures, floats, pictures
from nasfeat_server.rpc import convert, tenancy, tracing
from nasfeat_server.rpc.answering import Answering
from nasfeat_server.rpc.catalog import Catalog, Served
from nasfeat_server.rpc.control import ServerState
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.rpc.outputs import Selection, select
from nasfeat_server.rpc.service import Service
from nasfeat_server.rpc.unary import answer, check_count

_Context = grpc.aio.ServicerContext[Any, Any]

_PACKAGE = "tensorflow.serving"


class TensorFlowServing:
    """Serves the versions of one model as TensorFlow Serving would.

    Args:
        catalog: the versions.
        limits: what a request may ask for.
        answering: ends every call.
        state: says what is served, and what is under way.
    """

    def __init__(
        self, *, catalog: Catalog, limits: RequestLimits, answering: Answering, state: Callable[[], ServerState]
    ) -> None:
        self._catalog = catalog
        self._limits = limits
        self._answering = answering
        self._state = state

    def services(self) -> tuple[Service, ...]:
        """Give what is to be registered."""
        predict = grpc.unary_unary_rpc_method_handler(
            self.predict,
            request_deserializer=receive,
            response_serializer=serving_pb2.PredictResponse.SerializeToString,
        )
        metadata = grpc.unary_unary_rpc_method_handler(
            self.get_model_metadata,
            request_deserializer=serving_pb2.GetModelMetadataRequest.FromString,
            response_serializer=serving_pb2.GetModelMetadataResponse.SerializeToString,
        )
        status = grpc.unary_unary_rpc_method_handler(
            self.get_model_status,
            request_deserializer=serving_pb2.GetModelStatusRequest.FromString,
            response_serializer=serving_pb2.GetModelStatusResponse.SerializeToString,
        )
        return (
            _service("PredictionService", {"Predict": predict, "GetModelMetadata": metadata}),
            _service("ModelService", {"GetModelStatus": status}),
        )

    async def predict(self, received: Received, context: _Context) -> serving_pb2.PredictResponse:
        """Compute the outputs of a signature; one image that fails fails the call."""
        request = received.request
        async with self._answering("Predict", context):
            served = models.find(self._catalog, request.model_spec, by_share=True)
            signature, default = models.signature_of(request.model_spec, served.description)
            outputs = models.outputs_of(request.output_filter, default, served.description)
            # Two names may mean one output.
            selection = select(list(dict.fromkeys(outputs.values())), 0, served.description, self._limits)
            images = pictures(
                _only_input(request), received.values, served.description.image_height, served.description.image_width
            )
            check_count(images.count, selection, self._limits)
            with served.calls.under_way():
                jobs = await self._answer(images, selection, served, context)
            return serving_pb2.PredictResponse(
                model_spec=models.spec_of(served, request.model_spec, signature),
                outputs=_tensors(outputs, selection, _results(jobs)),
            )

    async def _answer(
        self, images: Pictures, selection: Selection, served: Served, context: _Context
    ) -> Sequence[FrameJob]:
        path = tracing.path_of_call(tenancy.path_of_caller(served.path))
        if images.is_quick:
            sources = images.read()
        else:
            sources = await asyncio.get_running_loop().run_in_executor(path.decoding.threads, images.read)
        return await answer(
            sources,
            selection,
            path=path,
            weight=convert.unary_weight(tenancy.highest_priority()),
            limits=self._limits,
            timeout_s=context.time_remaining(),
            method="Predict",
        )

    async def get_model_metadata(
        self, request: serving_pb2.GetModelMetadataRequest, context: _Context
    ) -> serving_pb2.GetModelMetadataResponse:
        """Describe the signatures of a version."""
        async with self._answering("GetModelMetadata", context):
            served = models.find(self._catalog, request.model_spec)
            metadata = models.metadata_of(served, request.metadata_field)
            return serving_pb2.GetModelMetadataResponse(
                model_spec=models.spec_of(served, request.model_spec), metadata=metadata
            )

    async def get_model_status(
        self, request: serving_pb2.GetModelStatusRequest, context: _Context
    ) -> serving_pb2.GetModelStatusResponse:
        """Say which versions there are, and in what state each is."""
        async with self._answering("GetModelStatus", context):
            states = models.states_of(self._catalog, self._state(), request.model_spec)
            return serving_pb2.GetModelStatusResponse(model_version_status=states)


def _service(name: str, handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]") -> Service:
    methods = serving_pb2.DESCRIPTOR.services_by_name[name].methods_by_name
    requests = {method: methods[method].input_type for method in handlers}
    return Service(name=f"{_PACKAGE}.{name}", requests=requests, handlers=handlers)


def _only_input(request: serving_pb2.PredictRequest) -> tensor_pb2.Tensor:
    names = list(request.inputs)
    if names != [models.INPUT]:
        given = ", ".join(repr(name[:80]) for name in sorted(names)[:8]) or "none"
        raise InvalidRequestError(f"the inputs are {given}; the signature takes {models.INPUT!r} and nothing else")
    return request.inputs[models.INPUT]


def _results(jobs: Sequence[FrameJob]) -> list[bytes]:
    for index, job in enumerate(jobs):
        if isinstance(job.error, InvalidImageError):
            raise InvalidImageError(f"image {index} of {len(jobs)}: {job.error}")
        if job.error:
            raise job.error
    return [job.results for job in jobs if job.results is not None]


def _tensors(
    outputs: Mapping[str, str], selection: Selection, results: Sequence[bytes]
) -> dict[str, tensor_pb2.Tensor]:
    """Put the outputs of all images together, by the names that were asked for."""
    places, start = {}, 0
    for own, shape in zip(selection.computed, selection.shapes, strict=True):
        end = start + 4 * math.prod(shape)
        places[own] = slice(start, end), shape
        start = end
    tensors = {}
    for name, own in outputs.items():
        place, shape = places[own]
        tensors[name] = floats(b"".join(result[place] for result in results), (len(results), *shape))
    return tensors
