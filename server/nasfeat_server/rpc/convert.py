"""Between the wire's messages and the server's plain values."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from nasfeat_server.config import RequestLimits
from nasfeat_server.engine.interface import ModelDescription, PrecisionCheck
from nasfeat_server.errors import InvalidImageError, InvalidRequestError
from nasfeat_server.imaging.types import ColorMatrix, ColorRange, PixelFormat, RawPixels
from nasfeat_server.network.outputs import FEATURE_VECTOR
from nasfeat_server.rpc.outputs import Selection, select
from nasfeat_server.scheduling.overload import OverloadPolicy

_PIXEL_FORMATS = {image_pb2.PixelFormat.Value(f"PIXEL_FORMAT_{format_.name}"): format_ for format_ in PixelFormat}
_COLOR_MATRICES: Mapping[int, ColorMatrix] = {
    image_pb2.COLOR_MATRIX_UNSPECIFIED: ColorMatrix.BT601,
    image_pb2.COLOR_MATRIX_BT601: ColorMatrix.BT601,
    image_pb2.COLOR_MATRIX_BT709: ColorMatrix.BT709,
}
_COLOR_RANGES: Mapping[int, ColorRange] = {
    image_pb2.COLOR_RANGE_UNSPECIFIED: ColorRange.LIMITED,
    image_pb2.COLOR_RANGE_LIMITED: ColorRange.LIMITED,
    image_pb2.COLOR_RANGE_FULL: ColorRange.FULL,
}
_Colour = TypeVar("_Colour")
_WEIGHTS_OF_PRIORITIES: Mapping[int, float] = {
    feature_service_pb2.PRIORITY_LOW: 0.25,
    feature_service_pb2.PRIORITY_NORMAL: 1.0,
    feature_service_pb2.PRIORITY_HIGH: 4.0,
}
_OVERLOAD_POLICIES = {
    feature_service_pb2.OVERLOAD_POLICY_UNSPECIFIED: OverloadPolicy.BLOCK,
    **{feature_service_pb2.OverloadPolicy.Value(f"OVERLOAD_POLICY_{policy.name}"): policy for policy in OverloadPolicy},
}
_MAX_STREAM_ID_BYTES = 128
# Names, timings and classes of a result, beside its outputs.
_RESULT_OVERHEAD_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTerms:
    """A stream's options in force.

    Attributes:
        stream_id: the stream's name.
        ordered: results come in the order of the frames.
        overload: what happens to frames that come too fast.
        backlog: frames that may wait for a device under DROP_OLDEST and REJECT.
        weight: the stream's share of the devices.
        window: frames in flight, at most.
        frames_per_message: frames, and results, that one message may hold.
        frame_deadline_s: seconds from a frame's arrival; None for ever.
        selection: what each frame is answered with.
    """

    stream_id: str
    ordered: bool
    overload: OverloadPolicy
    backlog: int
    weight: float
    window: int
    frames_per_message: int
    frame_deadline_s: float | None
    selection: Selection


def image_source(image: image_pb2.Image, pixels: memoryview | None = None) -> bytes | RawPixels:
    """Give what the decoder takes.

    Args:
        image: the message.
        pixels: those of a raw image, if they are not in the message.

    Raises:
        InvalidImageError: the message holds no image, or one of an unknown pixel format.
    """
    kind = image.WhichOneof("source")
    if kind is None:
        raise InvalidImageError("there is no image: neither `encoded` nor `raw` is set")
    if kind == "encoded":
        return image.encoded
    raw = image.raw
    if raw.pixel_format not in _PIXEL_FORMATS:
        allowed = ", ".join(format_.name for format_ in PixelFormat)
        raise InvalidImageError(f"pixel format {raw.pixel_format} is not one of {allowed}")
    return RawPixels(
        data=raw.data if pixels is None else pixels,
        pixel_format=_PIXEL_FORMATS[raw.pixel_format],
        height=raw.height,
        width=raw.width,
        row_stride=raw.row_stride,
        color_matrix=_color(raw.color_matrix, _COLOR_MATRICES),
        color_range=_color(raw.color_range, _COLOR_RANGES),
    )


def _color(value: int, known: Mapping[int, _Colour]) -> _Colour:
    if value not in known:
        raise InvalidImageError(f"color matrix or range {value} is unknown; there are {', '.join(map(str, known))}")
    return known[value]


def stream_terms(
    options: feature_service_pb2.StreamOptions, description: ModelDescription, limits: RequestLimits
) -> StreamTerms:
    """Read a stream's options and fill in the defaults.

    Raises:
        InvalidRequestError: an option is unknown, not supported or out of range.
    """
    selection = select(options.outputs, options.top_k, description, limits)
    order = options.delivery_order or feature_service_pb2.DELIVERY_ORDER_ORDERED
    if order not in feature_service_pb2.DeliveryOrder.values():
        raise InvalidRequestError(f"delivery order {order} is neither ORDERED nor AS_COMPLETED")
    if len(options.stream_id.encode()) > _MAX_STREAM_ID_BYTES:
        raise InvalidRequestError(f"a stream id has at most {_MAX_STREAM_ID_BYTES} bytes")
    overload = _OVERLOAD_POLICIES.get(options.overload_policy)
    if overload is None:
        allowed = ", ".join(policy.name for policy in OverloadPolicy)
        raise InvalidRequestError(f"overload policy {options.overload_policy} is not one of {allowed}")
    priority = options.priority or feature_service_pb2.PRIORITY_NORMAL
    if priority not in _WEIGHTS_OF_PRIORITIES:
        raise InvalidRequestError(f"priority {priority} is not one of LOW, NORMAL and HIGH")
    # Not as a timedelta: what a message may say goes beyond what one can hold.
    deadline = options.frame_deadline if options.HasField("frame_deadline") else None
    deadline_s = None if deadline is None else deadline.seconds + deadline.nanos / 1e9
    if deadline_s is not None and deadline_s <= 0:
        raise InvalidRequestError(f"a frame deadline of {deadline_s:g} s is not over 0 s")
    window = _window(options.window, selection.nbytes, limits)
    if options.backlog > window:
        raise InvalidRequestError(f"a backlog of {options.backlog} frames does not fit into a window of {window}")
    return StreamTerms(
        stream_id=options.stream_id or uuid.uuid4().hex,
        overload=overload,
        backlog=options.backlog or max(1, window // 2),
        ordered=order == feature_service_pb2.DELIVERY_ORDER_ORDERED,
        weight=_WEIGHTS_OF_PRIORITIES[priority],
        window=window,
        frames_per_message=_frames_per_message(options.frames_per_message, window, selection.nbytes, limits),
        frame_deadline_s=deadline_s,
        selection=selection,
    )


def unary_weight(
    highest: feature_service_pb2.Priority.ValueType,
    asked: feature_service_pb2.Priority.ValueType = feature_service_pb2.PRIORITY_NORMAL,
) -> float:
    """Give the share of the images of a call: of the priority that it asks for, or of the highest that it may have."""
    return _WEIGHTS_OF_PRIORITIES[min(highest, asked)]


def _window(asked: int, result_bytes: int, limits: RequestLimits) -> int:
    """Grant the frames asked for, as far as their results fit into what a stream may hold."""
    window = min(asked or limits.max_window, limits.max_window)
    return max(1, min(window, limits.max_held_bytes // result_bytes))


def _frames_per_message(asked: int, window: int, result_bytes: int, limits: RequestLimits) -> int:
    """Grant the frames asked for, as far as they can be in flight and their results fit into a message."""
    fitting = limits.max_message_bytes // (result_bytes + _RESULT_OVERHEAD_BYTES)
    return max(1, min(asked, window, fitting))


def granted_options(
    options: feature_service_pb2.StreamOptions, terms: StreamTerms
) -> feature_service_pb2.StreamOptions:
    """Give a stream's options back with every default filled in."""
    granted = feature_service_pb2.StreamOptions()
    granted.CopyFrom(options)
    granted.outputs[:] = terms.selection.asked
    granted.delivery_order = options.delivery_order or feature_service_pb2.DELIVERY_ORDER_ORDERED
    granted.overload_policy = options.overload_policy or feature_service_pb2.OVERLOAD_POLICY_BLOCK
    granted.priority = options.priority or feature_service_pb2.PRIORITY_NORMAL
    granted.window = terms.window
    granted.frames_per_message = terms.frames_per_message
    granted.stream_id = terms.stream_id
    granted.backlog = 0 if terms.overload is OverloadPolicy.BLOCK else terms.backlog
    if terms.overload is OverloadPolicy.LATEST_ONLY:
        granted.backlog = 1
    return granted


def identity_message(
    description: ModelDescription, version: str, preprocessing_digest: str
) -> feature_pb2.ModelIdentity:
    """Say which model this is."""
    return feature_pb2.ModelIdentity(
        name=description.name,
        version=version,
        weights_digest=description.weights_digest,
        precision=description.precision,
        preprocessing_digest=preprocessing_digest,
        weights_source=description.weights_source,
        trained=description.trained,
        wiring=description.wiring,
    )


def model_message(
    description: ModelDescription, identity: feature_pb2.ModelIdentity, limits: RequestLimits
) -> feature_service_pb2.Model:
    """Say what the model takes and gives, and what a request may ask for."""
    return feature_service_pb2.Model(
        identity=identity,
        image_height=description.image_height,
        image_width=description.image_width,
        image_channels=3,
        feature_length=description.output_shapes[FEATURE_VECTOR][0],
        outputs=description.output_shapes,
        output_shapes=[
            feature_service_pb2.OutputShape(output=name, shape=shape)
            for name, shape in description.output_shapes.items()
        ],
        labels=description.labels,
        precision_check=_precision_message(description.precision_check),
        limits=feature_service_pb2.Limits(
            max_image_bytes=limits.max_image_bytes,
            max_image_pixels=limits.max_image_pixels,
            max_images_per_call=limits.max_images_per_call,
            max_window=limits.max_window,
            max_message_bytes=limits.max_message_bytes,
            max_result_bytes=limits.max_result_bytes,
            max_streams=limits.max_streams,
        ),
    )


def _precision_message(check: PrecisionCheck | None) -> feature_service_pb2.PrecisionCheck | None:
    if check is None:
        return None
    return feature_service_pb2.PrecisionCheck(
        images=check.images, mean_cosine=check.mean_cosine, min_cosine=check.min_cosine
    )


def deadline_after(seconds: float | None) -> float | None:
    """Turn a time to go into a point on the monotonic clock."""
    return None if seconds is None else time.monotonic() + seconds
