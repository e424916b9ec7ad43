"""TensorFlow Serving's calls with messages of our own package, which are the same on the wire."""

from collections.abc import Mapping
from typing import Any

import grpc.aio
import numpy as np
import numpy.typing as npt

from nasfeat.tfserving.v1 import serving_pb2, tensor_pb2
from nasfeat_server.facades.tfserving_tensors import shape_of

NAME = "fake_nasnet_cifar"

_DTYPES = {"float32": tensor_pb2.DATA_TYPE_FLOAT, "uint8": tensor_pb2.DATA_TYPE_UINT8}
_METHODS: Mapping[str, tuple[str, Any]] = {
    "Predict": ("PredictionService", serving_pb2.PredictResponse),
    "GetModelMetadata": ("PredictionService", serving_pb2.GetModelMetadataResponse),
    "GetModelStatus": ("ModelService", serving_pb2.GetModelStatusResponse),
}


async def ask(channel: grpc.aio.Channel, request: Any, **options: Any) -> Any:
    """Make the call that takes `request`, a message or a damaged one of `PredictRequest`."""
    method = "Predict" if isinstance(request, bytes) else type(request).__name__.removesuffix("Request")
    service, response = _METHODS[method]
    written = request if isinstance(request, bytes) else request.SerializeToString()
    call: Any = channel.unary_unary(
        f"/tensorflow.serving.{service}/{method}", response_deserializer=response.FromString
    )
    return await call(written, **options)


def tensor(array: npt.NDArray[Any]) -> tensor_pb2.Tensor:
    """Make a tensor of pixels as they lie in memory."""
    return tensor_pb2.Tensor(
        dtype=_DTYPES[array.dtype.name], tensor_shape=shape_of(array.shape), tensor_content=array.tobytes()
    )


def request_of(images: npt.NDArray[Any] | tensor_pb2.Tensor, **spec: Any) -> serving_pb2.PredictRequest:
    """Ask for the features of `images`; `spec` says of which model."""
    made = images if isinstance(images, tensor_pb2.Tensor) else tensor(images)
    return serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(**spec), inputs={"images": made})


def pictures(count: int, seed: int = 0, size: int = 32) -> npt.NDArray[np.uint8]:
    """Make pictures by chance: uint8 [count, size, size, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def features(response: Any, output: str = "default") -> npt.NDArray[np.float32]:
    """Read an output: float32 [N, ...]."""
    found = response.outputs[output]
    shape = [dim.size for dim in found.tensor_shape.dim]
    return np.frombuffer(found.float_val, np.float32).reshape(shape)
