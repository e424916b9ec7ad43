"""The Open Inference Protocol with stubs of our own, for tests that need what its clients do not show."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc.aio

from nasfeat.inference.v2 import inference_pb2
from nasfeat_server.app import App

Request = inference_pb2.ModelInferRequest
Response = inference_pb2.ModelInferResponse
StreamResponse = inference_pb2.ModelStreamInferResponse

NAME = "fake_nasnet_cifar"
SERVICE = "/inference.GRPCInferenceService/"


def pixels(*numbers: int, size: int = 32) -> bytes:
    """Make raw contents of a square picture for each number, its first byte, by which its fingerprint names it."""
    return b"".join(bytes((number,)) + bytes(size * size * 3 - 1) for number in numbers)


def request(*numbers: int, size: int = 32, model: str = NAME, version: str = "", **parameters: Any) -> Request:
    """Ask for the features of pictures; the request's id is the first number. Parameters are whole numbers or bools."""
    message = Request(model_name=model, model_version=version, id=str(numbers[0]) if numbers else "")
    message.inputs.add(name="image", datatype="UINT8", shape=[len(numbers), size, size, 3])
    message.raw_input_contents.append(pixels(*numbers, size=size))
    for name, value in parameters.items():
        if isinstance(value, bool):
            message.parameters[name].bool_param = value
        else:
            message.parameters[name].int64_param = value
    return message


class Stub:
    """The calls of the protocol on a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Keep `channel`."""
        self._channel = channel

    def infer(self, message: Request, metadata: Iterable[tuple[str, str]] = (), timeout: float | None = None) -> Any:
        """Call ModelInfer."""
        method = self._channel.unary_unary(
            f"{SERVICE}ModelInfer",
            request_serializer=Request.SerializeToString,
            response_deserializer=Response.FromString,
        )
        return method(message, metadata=tuple(metadata), timeout=timeout)

    def stream(self, metadata: Iterable[tuple[str, str]] = ()) -> Any:
        """Call ModelStreamInfer."""
        method = self._channel.stream_stream(
            f"{SERVICE}ModelStreamInfer",
            request_serializer=Request.SerializeToString,
            response_deserializer=StreamResponse.FromString,
        )
        return method(metadata=tuple(metadata))

    def ask(self, name: str, message: Any = None) -> Any:
        """Call one of the methods that tell something; without a `message`, with an empty one."""
        method = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[name]
        asked, told = (getattr(inference_pb2, kind.name) for kind in (method.input_type, method.output_type))
        call = self._channel.unary_unary(
            SERVICE + name, request_serializer=asked.SerializeToString, response_deserializer=told.FromString
        )
        return call(message or asked())


@contextlib.asynccontextmanager
async def connected(app: App) -> AsyncIterator[Stub]:
    """Give a stub for `app`."""
    async with grpc.aio.insecure_channel(str(app.listening)) as channel:
        yield Stub(channel)
