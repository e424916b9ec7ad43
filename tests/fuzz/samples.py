"""Valid messages of every kind that a client sends, to be damaged."""

from collections.abc import Sequence
from typing import Any

from tests.fuzz import wire_mutation
from tests.fuzz.target import Mutation

from nasfeat.inference.v2 import inference_pb2
from nasfeat.tfserving.v1 import serving_pb2, tensor_pb2
from nasfeat.v1 import feature_service_pb2 as pb
from nasfeat.v1 import image_pb2

GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
"""An image file of one pixel."""
_RAW = image_pb2.RawImage(
    data=bytes(range(48)), pixel_format=image_pb2.PIXEL_FORMAT_RGB8, height=4, width=4, row_stride=12
)
_YUV = image_pb2.RawImage(
    data=bytes(24),
    pixel_format=image_pb2.PIXEL_FORMAT_NV12,
    height=4,
    width=4,
    color_matrix=image_pb2.COLOR_MATRIX_BT709,
    color_range=image_pb2.COLOR_RANGE_FULL,
)
IMAGES = (image_pb2.Image(raw=_RAW), image_pb2.Image(raw=_YUV), image_pb2.Image(encoded=GIF))


def frame(frame_id: int, image: image_pb2.Image = IMAGES[0]) -> pb.Frame:
    """Make a frame with everything that one may have."""
    made = pb.Frame(frame_id=frame_id, image=image)
    made.capture_time.FromSeconds(frame_id)
    return made


def options() -> tuple[pb.StreamOptions, ...]:
    """Make openings of streams: one with nothing, one with everything."""
    full = pb.StreamOptions(
        outputs=["Logits", "image_feature_vector"],
        delivery_order=pb.DELIVERY_ORDER_AS_COMPLETED,
        overload_policy=pb.OVERLOAD_POLICY_DROP_OLDEST,
        priority=pb.PRIORITY_HIGH,
        window=16,
        top_k=3,
        stream_id="camera 1",
        backlog=4,
        frames_per_message=4,
        model="stable",
    )
    full.frame_deadline.FromMilliseconds(1500)
    return pb.StreamOptions(), full


def extractions() -> tuple[pb.ExtractFeaturesRequest, ...]:
    """Make unary calls."""
    return (
        pb.ExtractFeaturesRequest(images=IMAGES[:1]),
        pb.ExtractFeaturesRequest(images=IMAGES, outputs=["global_pool", "Cell_0/mean"], top_k=5, model="canary"),
    )


def inferences() -> tuple[inference_pb2.ModelInferRequest, ...]:
    """Make requests of the Open Inference Protocol: pixels that are cut out or not, and files."""
    pixels, urgent, typed, file = (
        inference_pb2.ModelInferRequest(model_name="fake_nasnet_cifar", id=str(number)) for number in range(4)
    )
    pixels.inputs.add(name="image", datatype="UINT8", shape=(24, 32, 32, 3))
    pixels.raw_input_contents.append(bytes(24 * 32 * 32 * 3))
    urgent.CopyFrom(pixels)
    urgent.parameters["priority"].uint64_param = 1
    urgent.parameters["timeout"].int64_param = 10**9
    urgent.parameters["sequence_id"].string_param = "camera 7"
    urgent.outputs.add(name="Predictions").parameters["classification"].int64_param = 2
    contents = inference_pb2.InferTensorContents(uint_contents=bytes(32 * 32 * 3))
    typed.inputs.add(name="image", datatype="UINT8", shape=(1, 32, 32, 3), contents=contents)
    file.inputs.add(name="image", datatype="BYTES", shape=(1,))
    file.raw_input_contents.append(len(GIF).to_bytes(4, "little") + GIF)
    return pixels, urgent, typed, file


def predictions() -> tuple[serving_pb2.PredictRequest, ...]:
    """Make calls of TensorFlow Serving's clients: pixels that lie in the message, numbers, and a file."""
    floats = _tensor(tensor_pb2.DATA_TYPE_FLOAT, (1, 32, 32, 3), float_val=bytes(4 * 32 * 32 * 3))
    # Of a size from which on values are cut out.
    pixels = _tensor(tensor_pb2.DATA_TYPE_UINT8, (24, 32, 32, 3), tensor_content=bytes(24 * 32 * 32 * 3))
    numbers = _tensor(tensor_pb2.DATA_TYPE_UINT8, (1, 32, 32, 3), int_val=b"\x7f\xff\x01" * 32 * 16 * 3)
    file = _tensor(tensor_pb2.DATA_TYPE_STRING, (1,), string_val=[GIF])
    spec = serving_pb2.ModelSpec(name="fake_nasnet_cifar", version_label="stable", signature_name="serving_default")
    return (
        *(serving_pb2.PredictRequest(inputs={"images": tensor}) for tensor in (floats, pixels, numbers)),
        serving_pb2.PredictRequest(model_spec=spec, inputs={"images": file}, output_filter=["default", "Cell_0/mean"]),
    )


def _tensor(dtype: tensor_pb2.DataType.ValueType, shape: Sequence[int], **values: Any) -> tensor_pb2.Tensor:
    axes = [tensor_pb2.TensorShape.Dim(size=size) for size in shape]
    return tensor_pb2.Tensor(dtype=dtype, tensor_shape=tensor_pb2.TensorShape(dim=axes), **values)


def stream_messages() -> tuple[pb.StreamFeaturesRequest, ...]:
    """Make messages of streams, openings and frames."""
    return (
        *(pb.StreamFeaturesRequest(options=one) for one in options()),
        *(pb.StreamFeaturesRequest(frame=frame(number, image)) for number, image in enumerate(IMAGES)),
        pb.StreamFeaturesRequest(frames=pb.FrameBatch(frames=[frame(n, image) for n, image in enumerate(IMAGES)])),
    )


def mutate(data: bytes, blindly: Mutation, largest: int, chance: int) -> bytes:
    """Change a message: in three of four cases knowing that it is one."""
    if chance % 4 == 0:
        return blindly(data, largest)
    others = [message.SerializeToString() for message in (*stream_messages(), *extractions())]
    return wire_mutation.mutated(data, wire_mutation.drawing(chance), others)[:largest]
