"""What is asked of the server, and what it says of itself: plain values, frozen."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from nasfeat.v1 import feature_pb2, feature_service_pb2

_MAX_STREAM_ID_BYTES = 128


class DeliveryOrder(enum.Enum):
    """The order of a stream's results."""

    ORDERED = feature_service_pb2.DELIVERY_ORDER_ORDERED
    """As the frames went."""
    AS_COMPLETED = feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED
    """As soon as each is ready."""


class OverloadPolicy(enum.Enum):
    """What a stream wants done with frames that come faster than they can be computed."""

    BLOCK = feature_service_pb2.OVERLOAD_POLICY_BLOCK
    """The sender waits: nothing is lost."""
    DROP_OLDEST = feature_service_pb2.OVERLOAD_POLICY_DROP_OLDEST
    """The oldest waiting frame is answered as dropped."""
    LATEST_ONLY = feature_service_pb2.OVERLOAD_POLICY_LATEST_ONLY
    """Only the newest frame waits; for live video."""
    REJECT = feature_service_pb2.OVERLOAD_POLICY_REJECT
    """The frame that finds no room is answered with `OverloadedError`."""


class Priority(enum.Enum):
    """A stream's weight when devices are shared out."""

    LOW = feature_service_pb2.PRIORITY_LOW
    """A quarter of a normal share."""
    NORMAL = feature_service_pb2.PRIORITY_NORMAL
    """One share."""
    HIGH = feature_service_pb2.PRIORITY_HIGH
    """Four shares."""


class ErrorReason(enum.Enum):
    """The kinds of failure of one image."""

    UNSPECIFIED = feature_pb2.ERROR_REASON_UNSPECIFIED
    """A kind that this version of the SDK does not know."""
    INVALID_IMAGE = feature_pb2.ERROR_REASON_INVALID_IMAGE
    INVALID_REQUEST = feature_pb2.ERROR_REASON_INVALID_REQUEST
    OVERLOADED = feature_pb2.ERROR_REASON_OVERLOADED
    DEADLINE_PASSED = feature_pb2.ERROR_REASON_DEADLINE_PASSED
    SHUTTING_DOWN = feature_pb2.ERROR_REASON_SHUTTING_DOWN
    EXECUTION_FAILED = feature_pb2.ERROR_REASON_EXECUTION_FAILED
    REPLICA_LOST = feature_pb2.ERROR_REASON_REPLICA_LOST


class DropReason(enum.Enum):
    """Why a frame was dropped."""

    UNSPECIFIED = feature_service_pb2.DROP_REASON_UNSPECIFIED
    """A reason that this version of the SDK does not know."""
    SUPERSEDED = feature_service_pb2.DROP_REASON_SUPERSEDED
    """A newer frame took its place."""
    DEADLINE = feature_service_pb2.DROP_REASON_DEADLINE
    """Its deadline passed while it waited."""


class ResultSource(enum.Enum):
    """Whether a device worked for this very image; the values are the same either way."""

    UNSPECIFIED = feature_service_pb2.RESULT_SOURCE_UNSPECIFIED
    """The server, an older or newer one, does not say."""
    COMPUTED = feature_service_pb2.RESULT_SOURCE_COMPUTED
    """It did."""
    SHARED = feature_service_pb2.RESULT_SOURCE_SHARED
    """The same image was on its way already: both got what was computed once."""
    CACHED = feature_service_pb2.RESULT_SOURCE_CACHED
    """The same image had been computed a while ago, and its result was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a stream wants to be served; the defaults suit a batch job.

    Attributes:
        outputs: the outputs wanted, by name, as in `AsyncFeatureClient.extract`.
        top_k: how many of the most probable classes each result names, at most; 0 for none.
        delivery_order: the order of results.
        overload_policy: what happens when frames come faster than they can be computed.
        priority: the stream's weight beside other streams.
        window: frames in flight; None takes the client's `ClientConfig.window`. The server may grant fewer.
        frame_deadline_s: how long after its arrival a frame is still worth computing; None means for ever.
        stream_id: a name for the stream, up to 128 bytes, echoed in its results; "" lets the server choose one.
        backlog: frames that may wait for a device under DROP_OLDEST and REJECT; None lets the server choose.
        frames_per_message: frames that travel together, which costs both sides less: for pictures that are at hand,
            not for a camera's, since the first waits for the last. The server may grant fewer.
    """

    outputs: tuple[str, ...] = ()
    top_k: int = 0
    delivery_order: DeliveryOrder = DeliveryOrder.ORDERED
    overload_policy: OverloadPolicy = OverloadPolicy.BLOCK
    priority: Priority = Priority.NORMAL
    window: int | None = None
    frame_deadline_s: float | None = None
    stream_id: str = ""
    backlog: int | None = None
    frames_per_message: int = 1

    def __post_init__(self) -> None:
        if self.frames_per_message < 1:
            raise ValueError(f"frames_per_message is {self.frames_per_message}; it must be 1 or more")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}; it must be 0 or more")
        if self.backlog is not None and self.backlog < 1:
            raise ValueError(f"backlog is {self.backlog}; it must be 1 or more")
        if len(self.stream_id.encode()) > _MAX_STREAM_ID_BYTES:
            raise ValueError(f"stream_id has {len(self.stream_id.encode())} bytes; {_MAX_STREAM_ID_BYTES} are allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which network, weights and preprocessing made a vector; vectors are comparable only when these are equal.

    Attributes:
        name: the architecture, e.g. "nasnet_large".
        version: the version of the weights, as the operator names it.
        weights_digest: "sha256:" and the digest of the weights.
        precision: the arithmetic of the device, e.g. "fp32".
        preprocessing_digest: "sha256:" and the digest of how an image becomes the network's input.
        weights_source: where the weights came from, e.g. "random:0".
        trained: False when the weights are random numbers: the vectors then mean nothing.
        wiring: which padding the network's reduction cells use: "slim", the original's, or "keras", that of
            keras.applications; "" if the server, an older one, does not say.
    """

    name: str
    version: str
    weights_digest: str
    precision: str
    preprocessing_digest: str
    weights_source: str
    trained: bool
    wiring: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamGrant:
    """What the server granted to a stream.

    Attributes:
        options: the options in force, with every default filled in; `window` is the one at the beginning.
        identity: the model that makes every result of the stream.
        feature_length: values in the feature vector.
    """

    options: StreamOptions
    identity: ModelIdentity
    feature_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """What became of all frames of a stream, as the server counted: received = the four that follow.

    Attributes:
        stream_id: the stream's name.
        received: frames that the server has read.
        succeeded: answered with features.
        failed: answered with an error other than OVERLOADED.
        rejected: answered with the error OVERLOADED.
        dropped: answered as dropped.
        deduplicated: those of `succeeded` that another request computed.
        duration_s: seconds from the grant to the end.
    """

    stream_id: str
    received: int
    succeeded: int
    failed: int
    rejected: int
    dropped: int
    deduplicated: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of one image went inside the server, in seconds.

    Attributes:
        receive_s: from its arrival until there was room for it.
        decode_s: decoding and resizing.
        queue_s: waiting for a batch.
        execute_s: in the network, with the hand-over to a device.
        reply_s: waiting to be sent.
    """

    receive_s: float = 0.0
    decode_s: float = 0.0
    queue_s: float = 0.0
    execute_s: float = 0.0
    reply_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds that a server is configured with.

    Attributes:
        max_image_bytes: bytes of one image, encoded or raw.
        max_image_pixels: height x width of one image.
        max_images_per_call: images in one unary call.
        max_window: frames in flight on one stream.
        max_message_bytes: bytes of one gRPC message.
        max_result_bytes: bytes of all outputs of one image together; 0 if the server, an older one, does not say.
        max_streams: streams open at once, of all clients together; 0 if the server, an older one, does not say.
    """

    max_image_bytes: int
    max_image_pixels: int
    max_images_per_call: int
    max_window: int
    max_message_bytes: int
    max_result_bytes: int = 0
    max_streams: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionCheck:
    """How feature vectors in a model's precision compare to those in fp32, measured when the server started.

    Attributes:
        images: pictures that were compared.
        mean_cosine: the mean cosine between the feature vectors.
        min_cosine: the least.
    """

    images: int
    mean_cosine: float
    min_cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model takes and gives.

    Attributes:
        identity: which model this is.
        image_height: rows of the network's input.
        image_width: columns of the network's input.
        image_channels: of the network's input: 3, red, green and blue.
        feature_length: values in the feature vector.
        outputs: the outputs that can be asked for, the default one first.
        output_shapes: the shape of each of `outputs` for one image: [length] or [rows, columns, channels]; empty if
            the server, an older one, does not say.
        labels: the names of the classifier's classes, in order; empty without a classifier or without names.
        precision_check: how the precision compares to fp32; None for fp32.
        limits: what one call and one stream may ask for.
    """

    identity: ModelIdentity
    image_height: int
    image_width: int
    image_channels: int = 3
    feature_length: int
    outputs: tuple[str, ...]
    # A plain dict inside: `dataclasses.asdict` and pickle cannot copy a read-only view.
    output_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    labels: tuple[str, ...] = ()
    precision_check: PrecisionCheck | None = None
    limits: Limits
