"""A client of TensorFlow Serving, as its users write them: tensorflow-serving-api's own stubs, unmodified.

A process of its own, since those register names of TensorFlow's. It has our SDK as well, as a user has who moves from
one to the other, and prints what came of each case as JSON.
"""

import importlib.util
import io
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from PIL import Image

from nasfeat_client import FeatureClient

_NAME = "fake_nasnet_cifar"
_DTYPES = {"float32": 1, "float64": 2, "uint8": 4}


def _without_tensorflow() -> None:
    """Let TensorFlow's messages be imported without all of it, which takes seconds."""
    spec = importlib.util.find_spec("tensorflow")
    if not spec or not spec.origin:
        raise AssertionError("TensorFlow Serving's API depends on TensorFlow")
    package = types.ModuleType("tensorflow")
    package.__path__ = [str(Path(spec.origin).parent)]
    sys.modules["tensorflow"] = package


def pictures(count: int) -> Any:
    """Make pictures by chance: uint8 [count, 32, 32, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)


def _file(pixels: Any) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


class _Client:
    """Makes the calls."""

    def __init__(self, address: str) -> None:
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        channel = grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def request(self, images: Any, name: str = _NAME, signature: str = "", **fields: Any) -> Any:
        """Ask for the features of `images`: an array, files, or what fields of a TensorProto there are."""
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(**fields)
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        request.inputs["images"].CopyFrom(images if hasattr(images, "tensor_shape") else self.tensor(images))
        return request

    def tensor(self, values: Any) -> Any:
        """Make a tensor as `tf.make_tensor_proto` does, by that itself if it is there."""
        if tensorflow := _tensorflow():
            return tensorflow.make_tensor_proto(values)
        if isinstance(values, list):
            return self.fields((len(values),), 7, string_val=values)
        return self.fields(values.shape, _DTYPES[values.dtype.name], tensor_content=values.tobytes())

    def fields(self, shape: tuple[int, ...], dtype: int, **values: Any) -> Any:
        """Make a tensor by its fields."""
        from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2

        axes = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
        return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=axes), **values)

    def features(self, request: Any) -> Any:
        """Predict, and read what came as users do."""
        output = self.predictions.Predict(request, timeout=60).outputs["default"]
        if tensorflow := _tensorflow():
            return tensorflow.make_ndarray(output).tolist()
        shape = [axis.size for axis in output.tensor_shape.dim]
        return np.array(output.float_val, np.float32).reshape(shape).tolist()

    def metadata(self, name: str = _NAME, fields: tuple[str, ...] = ("signature_def",)) -> Any:
        """Read the signatures: of each the shapes of its inputs and outputs, and its method."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        request.model_spec.name = name
        response = self.predictions.GetModelMetadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert response.metadata["signature_def"].Unpack(signatures)
        return {
            name: {
                "inputs": {key: _described(info) for key, info in signature.inputs.items()},
                "outputs": {key: _described(info) for key, info in signature.outputs.items()},
                "method": signature.method_name,
            }
            for name, signature in signatures.signature_def.items()
        }

    def status(self, version: int | None = None) -> Any:
        """Read versions and their states by the states' names."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = _NAME
        if version is not None:
            request.model_spec.version.value = version
        kind = get_model_status_pb2.ModelVersionStatus
        response = self.models.GetModelStatus(request)
        return {one.version: kind.State.Name(one.state) for one in response.model_version_status}

    def classify(self) -> Any:
        """Ask for what is not served."""
        from tensorflow_serving.apis import classification_pb2

        return self.predictions.Classify(classification_pb2.ClassificationRequest())


def _tensorflow() -> Any:
    module = sys.modules["tensorflow"]
    return module if hasattr(module, "make_tensor_proto") else None


def _described(info: Any) -> Any:
    return [info.dtype, *(axis.size for axis in info.tensor_shape.dim)]


def _answered(client: _Client) -> dict[str, Any]:
    """Give inputs that are right: each begins with the same four pictures."""
    few, many = pictures(4), pictures(32)
    floats = (many / 255).astype(np.float32)
    return {
        "uint8": few,
        "float": floats[:4],
        "float, rounded": floats[:4] + np.float32(0.4 / 255) * (floats[:4] < 0.9),
        "files": [_file(picture) for picture in few],
        "float_val": client.fields(few.shape, 1, float_val=floats[:4].ravel().tolist()),
        "int_val": client.fields(few.shape, 4, int_val=few.ravel().tolist()),
        "uint8, many": many,
        "float, many": floats,
        "float_val, many": client.fields(many.shape, 1, float_val=floats.ravel().tolist()),
        "int_val, many": client.fields(many.shape, 4, int_val=many.ravel().tolist()),
    }


def _refused(client: _Client) -> dict[str, Any]:
    """Give inputs that are wrong, each in one way."""
    few = pictures(4)
    floats = (few / 255).astype(np.float32)
    return {
        "double": few.astype(np.float64),
        "bytes as floats": few.astype(np.float32),
        "below 0": -floats[:1],
        "infinite": np.full_like(floats[:1], np.inf),
        "another size": few[:, :31],
        "without a batch": few[0],
        "no picture": few[:0],
        "too many": pictures(33),
        "too few values": client.fields(few.shape, 1, float_val=[0.5]),
        "too few numbers": client.fields(few.shape, 4, int_val=[1]),
        "not numbers of bytes": client.fields((1, 32, 32, 3), 4, int_val=[300] * 3072),
        "files of no shape": client.fields((), 7, string_val=[b"x"]),
        "no file": [b"x" * 20],
        "none at all": client.fields((), 0),
    }


def _cases(client: _Client, address: str) -> dict[str, Callable[[], Any]]:
    """Give the cases by their names; each makes one call, whose error or answer is noted."""
    few = pictures(4)

    def ours() -> Any:
        with FeatureClient(address) as sdk:
            return [sdk.extract(picture).vector.tolist() for picture in few]

    def asking(images: Any = few, **fields: Any) -> Callable[[], Any]:
        return lambda: client.features(client.request(images, **fields))

    return {
        "ours": ours,
        **{name: asking(images) for name, images in (_answered(client) | _refused(client)).items()},
        "named signature": asking(signature="image_feature_vector"),
        "unknown signature": asking(signature="classify"),
        "unknown model": asking(name="inception"),
        "unknown version": asking(model_spec={"version": {"value": 7}}),
        "unknown label": asking(model_spec={"version_label": "canary"}),
        "known label": asking(model_spec={"version_label": "stable"}),
        "known version": asking(model_spec={"version": {"value": 1}}),
        "output filter": asking(output_filter=["default"]),
        "unknown output": asking(output_filter=["logits"]),
        "metadata": client.metadata,
        "metadata of another": lambda: client.metadata(name="inception"),
        "unknown metadata": lambda: client.metadata(fields=("graph",)),
        "no metadata": lambda: client.metadata(fields=()),
        "status": client.status,
        "status of a version": lambda: client.status(1),
        "status of no version": lambda: client.status(2),
        "classify": client.classify,
    }


def _outcome(case: Callable[[], Any]) -> Any:
    try:
        return {"code": "OK", "details": "", "answer": case()}
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details(), "answer": None}


def main() -> None:
    """Run every case against the server at the first argument; with a second one under TensorFlow itself."""
    address, *tensorflow = sys.argv[1:]
    if tensorflow:
        importlib.import_module("tensorflow")
    else:
        _without_tensorflow()
    cases = _cases(_Client(address), address)
    print(json.dumps({name: _outcome(case) for name, case in cases.items()}))


if __name__ == "__main__":
    main()
