"""A client of the Open Inference Protocol, as users of Triton write them: `tritonclient`, unmodified.

A process of its own, as theirs are, which has our SDK as well. It prints what came of each case as JSON.
"""

import asyncio
import io
import json
import queue
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from PIL import Image
from tritonclient.utils import InferenceServerException

from nasfeat_client import FeatureClient

_NAME = "fake_nasnet_cifar"
_REQUESTS = 40
# Of a stream: these are wrong.
_BROKEN = {5: "no model", 11: "no picture"}


def pictures(count: int) -> Any:
    """Make pictures by chance: uint8 [count, 32, 32, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)


def _files(pixels: Any) -> Any:
    files = []
    for picture in pixels:
        written = io.BytesIO()
        Image.fromarray(picture).save(written, "PNG")
        files.append(written.getvalue())
    return np.array(files, dtype=np.object_)


def _input(values: Any, datatype: str, name: str = "image") -> Any:
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def _wanted(name: str, classes: int = 0) -> Any:
    return triton.InferRequestedOutput(name, class_count=classes)


def _typed(pixels: Any, **contents: Any) -> Any:
    """Make an input whose elements are in `contents`, as clients of other languages write them."""
    tensor = triton.InferInput("image", list(pixels.shape), "UINT8" if "uint_contents" in contents else "BYTES")
    fields = tensor._get_tensor().contents
    for name, values in contents.items():
        getattr(fields, name).extend(values)
    return tensor


def _infer(client: Any, inputs: Any, model: str = _NAME, **options: Any) -> Any:
    """Give the features, or what else is asked for."""
    result = client.infer(model, inputs, **options)
    names = [output.name for output in result.get_response().outputs]
    return result.as_numpy(names[0]).tolist()


def _cases(client: Any) -> dict[str, Callable[[], Any]]:
    pixels = pictures(4)
    image, files = _input(pixels, "UINT8"), _files(pixels)
    floats = _input((pixels / 255).astype(np.float32), "FP32")
    other = _input(pictures(1)[:, :31], "UINT8")
    return {
        "uint8": lambda: _infer(client, [image]),
        "as they are": lambda: _infer(client, [image], outputs=[_wanted("features")], model_version="1"),
        "by label": lambda: _infer(client, [image], outputs=[_wanted("global_pool")], model_version="stable"),
        "urgent": lambda: _infer(client, [image], priority=1, timeout=60_000_000),
        "of a sequence": lambda: _infer(client, [image], sequence_id=7, sequence_start=True, sequence_end=True),
        "of a named sequence": lambda: _infer(client, [image], sequence_id="camera 7", sequence_start=True),
        "float32": lambda: _infer(client, [floats]),
        "files": lambda: _infer(client, [_input(files, "BYTES")]),
        "files in a column": lambda: _infer(client, [_input(files.reshape(4, 1), "BYTES")]),
        "typed numbers": lambda: _infer(client, [_typed(pixels, uint_contents=pixels.ravel().tolist())]),
        "typed files": lambda: _infer(client, [_typed(files, bytes_contents=files.tolist())]),
        "many": lambda: _infer(client, [_input(pictures(32), "UINT8")]),
        "compressed": lambda: _infer(client, [image], compression_algorithm="gzip"),
        "classes": lambda: [
            [text.decode() for text in row]
            for row in client.infer(_NAME, [image], outputs=[_wanted("Predictions", 3)]).as_numpy("Predictions")
        ],
        "several outputs": lambda: _several(client, image),
        "unknown model": lambda: _infer(client, [image], model="inception"),
        "unknown version": lambda: _infer(client, [image], model_version="7"),
        "unknown output": lambda: _infer(client, [image], outputs=[_wanted("fc")]),
        "output twice": lambda: _infer(client, [image], outputs=[_wanted("features"), _wanted("features")]),
        "classes of a map": lambda: _infer(client, [image], outputs=[_wanted("Cell_0", 2)]),
        "another input": lambda: _infer(client, [_input(pixels, "UINT8", "images")]),
        "two inputs": lambda: _infer(client, [image, image]),
        "no input": lambda: _infer(client, []),
        "another datatype": lambda: _infer(client, [_input(pixels.astype(np.int16), "INT16")]),
        "another size": lambda: _infer(client, [other]),
        "without a batch": lambda: _infer(client, [_input(pixels[0], "UINT8")]),
        "too many": lambda: _infer(client, [_input(pictures(33), "UINT8")]),
        "none at all": lambda: _infer(client, [_input(pixels[:0], "UINT8")]),
        "too few numbers": lambda: _infer(client, [_typed(pixels, uint_contents=[1, 2, 3])]),
        "large numbers": lambda: _infer(client, [_typed(pixels, uint_contents=[256] * pixels.size)]),
        "too few files": lambda: _infer(client, [_typed(files, bytes_contents=files[:3].tolist())]),
        "no picture": lambda: _infer(client, [_input(np.array([b"a", b"b"], np.object_), "BYTES")]),
        "shared memory": lambda: _infer(client, [_in_shared_memory(pixels)]),
        "other parameters": lambda: _infer(client, [image], parameters={"traffic": 1.5, "sequence": "x"}),
        "a priority of words": lambda: _worded(client, image),
        "metadata of another": lambda: client.get_model_metadata("inception"),
        "statistics of another": lambda: client.get_inference_statistics("inception").model_stats,
        "shared memory is not served": client.get_system_shared_memory_status,
    }


def _several(client: Any, image: Any) -> Any:
    names = ("Cell_0/mean", "Logits", "features")
    result = client.infer(_NAME, [image], outputs=[_wanted(name) for name in names], request_id="mine")
    response = result.get_response()
    told = [response.id, response.model_name, response.model_version]
    return [told, {output.name: list(result.as_numpy(output.name).shape) for output in response.outputs}]


def _in_shared_memory(pixels: Any) -> Any:
    tensor = triton.InferInput("image", list(pixels.shape), "UINT8")
    tensor.set_shared_memory("mine", pixels.nbytes)
    return tensor


def _worded(client: Any, image: Any) -> Any:
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=_NAME)
    request.parameters["priority"].string_param = "high"
    request.inputs.extend([image._get_tensor()])
    request.raw_input_contents.append(image._get_content())
    return client._client_stub.ModelInfer(request).id


def _outcome(make: Callable[[], Any]) -> Any:
    import grpc

    try:
        return {"code": "OK", "details": "", "answer": make()}
    except InferenceServerException as error:
        return {"code": str(error.status()).rpartition(".")[2], "details": error.message()}
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}


def _stream_of(number: int) -> dict[str, Any]:
    """Make a request of a stream: of one picture, and wrong if it is to be."""
    inputs = [_input(pictures(4)[number % 4][np.newaxis], "UINT8")]
    if _BROKEN.get(number) == "no picture":
        inputs = [_input(np.array([b"no picture"], np.object_), "BYTES")]
    model = "inception" if _BROKEN.get(number) == "no model" else _NAME
    return {"model_name": model, "inputs": inputs, "request_id": str(number)}


def _streamed(client: Any) -> Any:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(_REQUESTS):
        client.async_stream_infer(**_stream_of(number), enable_empty_final_response=number % 2 == 0)
    told = [_told(*answers.get(timeout=60)) for _ in range(_REQUESTS)]
    client.stop_stream()
    return told


def _told(result: Any, error: Any) -> Any:
    if error:
        return ["", str(error)]
    final = result.get_response().parameters["triton_final_response"].bool_param
    return [result.get_response().id, result.as_numpy("features")[0].tolist(), final]


async def _streamed_by_aio(address: str) -> Any:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(_REQUESTS):
            yield _stream_of(number)

    async with triton_aio.InferenceServerClient(address) as client:
        unary = (await client.infer(_NAME, [_input(pictures(4), "UINT8")])).as_numpy("features").tolist()
        streamed = [_told(result, error) async for result, error in client.stream_infer(requests())]
    return [unary, streamed]


def _described(client: Any) -> Any:
    config = client.get_model_config(_NAME, as_json=True)["config"]
    return {
        "live": [client.is_server_live(), client.is_server_ready()],
        "ready": [client.is_model_ready(_NAME), client.is_model_ready(_NAME, "1"), client.is_model_ready(_NAME, "7")],
        "server": client.get_server_metadata(as_json=True),
        "metadata": client.get_model_metadata(_NAME, as_json=True),
        "config": {name: value for name, value in config.items() if name != "parameters"},
        "index": client.get_model_repository_index(as_json=True),
    }


def _statistics(client: Any) -> Any:
    [found] = client.get_inference_statistics(as_json=True)["model_stats"]
    client.infer(_NAME, [_input(pictures(4), "UINT8")])
    [later] = client.get_inference_statistics(_NAME, "1", as_json=True)["model_stats"]
    return [found, later]


def main(address: str) -> None:
    """Print what comes of each case."""
    with FeatureClient(address) as ours:
        expected = [ours.extract(picture).vector.tolist() for picture in pictures(4)]
    client = triton.InferenceServerClient(address)
    found = {name: _outcome(make) for name, make in _cases(client).items()}
    found["expected"] = expected
    found["described"] = _described(client)
    found["streamed"] = _streamed(client)
    found["aio"] = asyncio.run(_streamed_by_aio(address))
    found["statistics"] = _statistics(client)
    client.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
