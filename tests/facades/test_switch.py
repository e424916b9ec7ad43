"""Which protocols are spoken is the operator's choice, and whoever asks is told of them."""

from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from inference import connected
from nasfeat_server.app import App
from nasfeat_server.config import Facade
from nasfeat_server.config.facades import facades_of
from nasfeat_server.errors import ConfigurationError
from serving import running

_INFERENCE = "inference.GRPCInferenceService"
_SERVING = {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"}


async def _asked(app: App, question: reflection_pb2.ServerReflectionRequest) -> Any:
    async with grpc.aio.insecure_channel(str(app.listening)) as channel:
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        call = reflection.ServerReflectionInfo(iter([question]))
        [answer] = [answer async for answer in call]
    return answer


async def _names(app: App) -> set[str]:
    answer = await _asked(app, reflection_pb2.ServerReflectionRequest(list_services=""))
    return {service.name for service in answer.list_services_response.service}


async def test_reflection_describes_services_under_the_names_that_clients_call() -> None:
    """What it tells of a service is enough to call it, and has no name of ours in it."""
    async with running() as app:
        assert {_INFERENCE, *_SERVING} <= await _names(app)
        answer = await _asked(app, reflection_pb2.ServerReflectionRequest(file_containing_symbol=_INFERENCE))
    pool = DescriptorPool()
    files = {}
    for serialized in answer.file_descriptor_response.file_descriptor_proto:
        file = FileDescriptorProto.FromString(serialized)
        files[file.name] = file
    for name in sorted(files, key=lambda name: len(files[name].dependency)):
        pool.Add(files[name])
    method = pool.FindMethodByName(f"{_INFERENCE}.ModelStreamInfer")
    assert method.input_type.full_name == "inference.ModelInferRequest"
    answered = method.output_type.fields_by_name["infer_response"].message_type
    assert answered
    assert answered.full_name == "inference.ModelInferResponse"
    assert method.input_type.fields_by_name["raw_input_contents"].number == 7


@pytest.mark.parametrize("wanted", [(), (Facade.TENSORFLOW_SERVING,)])
async def test_what_is_not_wanted_is_not_served(wanted: tuple[Facade, ...]) -> None:
    """Its methods are UNIMPLEMENTED, and nobody is told of it."""
    async with running(facades=wanted) as app, connected(app) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ask("ServerLive")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        names = await _names(app)
    assert _INFERENCE not in names
    assert (names >= _SERVING) is bool(wanted)


def test_facades_are_named_in_any_order() -> None:
    """All by default; none by that word; what is unknown is refused with what there is."""
    assert facades_of("tensorflow-serving, open-inference") == tuple(Facade)
    assert facades_of("open-inference") == (Facade.OPEN_INFERENCE,)
    assert facades_of("none") == ()
    with pytest.raises(ConfigurationError, match="there is no facade 'kserve'; there are open-inference, tensorflow-"):
        facades_of("open-inference,kserve")
