"""Valid messages of every kind that a client sends, to be damaged."""

from tests.fuzz import wire_mutation
from tests.fuzz.target import Mutation

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
