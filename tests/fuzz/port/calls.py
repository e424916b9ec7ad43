"""Attacks through a right client: messages of protobuf that are damaged, in calls and at every place of streams."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tests.fuzz import samples, wire_mutation

from nasfeat.inference.v2 import inference_pb2
from nasfeat.tfserving.v1 import serving_pb2
from nasfeat.v1 import feature_service_pb2 as pb

_SERVICE = "/nasfeat.v1.FeatureService/"
_PREDICTIONS = "/tensorflow.serving.PredictionService/"
_INFERENCE = "/inference.GRPCInferenceService/"
_SPEC = serving_pb2.ModelSpec(name="fake_nasnet_cifar", version_label="stable")
_UNARY = (
    (f"{_SERVICE}GetModel", pb.GetModelRequest(name="stable")),
    (f"{_SERVICE}ListModels", pb.ListModelsRequest()),
    ("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service="nasfeat.v1.FeatureService")),
    *((f"{_SERVICE}ExtractFeatures", message) for message in samples.extractions() * 3),
    *((f"{_PREDICTIONS}Predict", message) for message in samples.predictions()),
    (f"{_PREDICTIONS}GetModelMetadata", serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])),
    ("/tensorflow.serving.ModelService/GetModelStatus", serving_pb2.GetModelStatusRequest(model_spec=_SPEC)),
    *((f"{_INFERENCE}ModelInfer", message) for message in samples.inferences()),
    (f"{_INFERENCE}ModelConfig", inference_pb2.ModelConfigRequest(name="fake_nasnet_cifar", version="stable")),
    (f"{_INFERENCE}ModelStatistics", inference_pb2.ModelStatisticsRequest(name="fake_nasnet_cifar")),
)
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# What the server must never say to a client, whatever that sends.
_FAULTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE)
# What grpc.aio puts in place of the status when a call ends while a write is under way
# (https://github.com/grpc/grpc/issues/36066).
_HIDDEN = "Internal error from Core"
_WITHIN_S = 15


class FaultError(Exception):
    """The server took the blame for a client's message."""


async def unary(channel: grpc.aio.Channel, draw: random.Random) -> None:
    """One damaged request."""
    method, request = draw.choice(_UNARY)
    ask: Any = channel.unary_unary(method)
    await judge(ask(_damaged(request, draw), timeout=_WITHIN_S))


async def stream(channel: grpc.aio.Channel, draw: random.Random) -> None:
    """A stream of which some messages are damaged: the opening seldom, so that frames are looked at too."""
    opening = pb.StreamFeaturesRequest(options=draw.choice(samples.options()))
    messages = [_damaged(opening, draw) if draw.random() < 0.3 else opening.SerializeToString()]
    for number in range(draw.randint(0, 12)):
        frame = pb.StreamFeaturesRequest(frame=samples.frame(number, draw.choice(samples.IMAGES)))
        batch = pb.StreamFeaturesRequest(frames=pb.FrameBatch(frames=[frame.frame] * draw.randint(1, 3)))
        message = draw.choice((frame, frame, frame, batch))
        messages.append(_damaged(message, draw) if draw.random() < 0.3 else message.SerializeToString())
    await _converse(channel, f"{_SERVICE}StreamFeatures", messages, draw)


async def inference(channel: grpc.aio.Channel, draw: random.Random) -> None:
    """A stream of requests of the Open Inference Protocol, some of which are damaged: it answers them and lives on."""
    messages = []
    for _ in range(draw.randint(0, 12)):
        message = draw.choice(samples.inferences())
        messages.append(_damaged(message, draw) if draw.random() < 0.3 else message.SerializeToString())
    await _converse(channel, f"{_INFERENCE}ModelStreamInfer", messages, draw)


async def reflection(channel: grpc.aio.Channel, draw: random.Random) -> None:
    """Damaged questions about what the server serves."""
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol="nasfeat.v1.FeatureService")
    messages = [_damaged(question, draw) for _ in range(draw.randint(1, 3))]
    await _converse(channel, _REFLECTION, messages, draw)


async def _converse(channel: grpc.aio.Channel, method: str, messages: Sequence[bytes], draw: random.Random) -> None:
    call: Any = channel.stream_stream(method)(timeout=_WITHIN_S)
    leaving = draw.random() < 0.2
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(_write(call, messages, leaving=leaving))
        reading = tasks.create_task(_read(call))
        reading.add_done_callback(lambda _: writing.cancel())
    await judge(call)


async def _write(call: Any, messages: Sequence[bytes], *, leaving: bool) -> None:
    try:
        for message in messages:
            await call.write(message)
        if leaving:
            call.cancel()
        else:
            await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The call has ended; its status tells why.
        return


async def _read(call: Any) -> None:
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        # As above; a call that is cancelled cancels whoever reads it.
        return


async def judge(call: Any) -> None:
    """Look at the status of a call that has ended.

    Raises:
        FaultError: it says that the server failed.
        TimeoutError: the server did not answer.
    """
    code, details = await call.code(), await call.details()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and "Deadline Exceeded" in (details or ""):
        raise TimeoutError
    if code in _FAULTS and _HIDDEN not in (details or ""):
        raise FaultError(f"{code.name}: {details}")


def _damaged(message: Any, draw: random.Random) -> bytes:
    all_kinds = (*samples.stream_messages(), *samples.extractions(), *samples.predictions(), *samples.inferences())
    others = [other.SerializeToString() for other in all_kinds]
    return wire_mutation.mutated(message.SerializeToString(), draw, others)


ATTACKS: dict[str, Callable[[grpc.aio.Channel, random.Random], Any]] = {
    "calls": unary,
    "streams": stream,
    "inference": inference,
    "reflection": reflection,
}
