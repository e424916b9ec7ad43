"""From the wire to results and models."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from nasfeat.v1 import feature_pb2, feature_service_pb2
from nasfeat_client.errors import NotSupportedError, UnexpectedReplyError
from nasfeat_client.result import Array, Classification, FrameError, Result
from nasfeat_client.types import (
    DeliveryOrder,
    DropReason,
    ErrorReason,
    Limits,
    ModelIdentity,
    ModelInfo,
    OverloadPolicy,
    PrecisionCheck,
    Priority,
    ResultSource,
    StreamGrant,
    StreamOptions,
    StreamSummary,
    Timings,
)

_Reason = TypeVar("_Reason", ErrorReason, DropReason, ResultSource)


def result_of(message: feature_service_pb2.FrameResult, identity: ModelIdentity, *, top_k: int = 0) -> Result:
    """Read a result; `identity` is that of its stream or call, and `top_k` the classes asked for.

    Raises:
        UnexpectedReplyError: the message has no outcome, or values that do not fit their shape.
        NotSupportedError: classes were asked for, and there are none.
    """
    outputs: Mapping[str, Array] = {}
    classes: tuple[Classification, ...] = ()
    error = dropped = source = None
    match message.WhichOneof("outcome"):
        case "features":
            outputs = {feature.output: _array_of(feature) for feature in message.features.features}
            classes = tuple(map(_class_of, message.features.classes))
            source = _known(ResultSource, message.source)
            if top_k and not classes:
                # A server that does not know the field has passed over it.
                raise NotSupportedError(
                    f"{top_k} classes were asked for and none came: the server is too old for top_k"
                )
        case "error":
            error = _error_of(message.error)
        case "dropped":
            dropped = _known(DropReason, message.dropped.reason)
        case None:
            raise UnexpectedReplyError(f"the result of frame {message.frame_id} has no outcome")
    return Result(
        frame_id=message.frame_id,
        capture_time=_datetime_of(message.capture_time) if message.HasField("capture_time") else None,
        outputs=MappingProxyType(outputs),
        classes=classes,
        error=error,
        dropped=dropped,
        identity=identity,
        timings=_timings_of(message.timings),
        source=source,
        stream_id=message.stream_id,
    )


def grant_of(message: feature_service_pb2.StreamGranted) -> StreamGrant:
    """Read what a stream was granted.

    Raises:
        UnexpectedReplyError: there is no window, or an option that this SDK does not know.
    """
    options = message.options
    if not options.window:
        raise UnexpectedReplyError("the stream was granted without a window")
    try:
        order, policy = DeliveryOrder(options.delivery_order or 1), OverloadPolicy(options.overload_policy or 1)
        priority = Priority(options.priority or Priority.NORMAL.value)
    except ValueError as error:
        raise UnexpectedReplyError(f"the stream was granted with an unknown option: {error}") from error
    deadline = options.frame_deadline.ToNanoseconds() / 1e9 if options.HasField("frame_deadline") else None
    return StreamGrant(
        options=StreamOptions(
            outputs=tuple(options.outputs),
            top_k=options.top_k,
            delivery_order=order,
            overload_policy=policy,
            priority=priority,
            window=options.window,
            frame_deadline_s=deadline,
            stream_id=options.stream_id,
            backlog=options.backlog or None,
            frames_per_message=options.frames_per_message or 1,
        ),
        identity=identity_of(message.identity),
        feature_length=message.feature_length,
    )


def summary_of(message: feature_service_pb2.StreamSummary) -> StreamSummary:
    """Read what became of a stream's frames."""
    return StreamSummary(
        stream_id=message.stream_id,
        received=message.received,
        succeeded=message.succeeded,
        failed=message.failed,
        rejected=message.rejected,
        dropped=message.dropped,
        deduplicated=message.deduplicated,
        duration_s=message.duration_s,
    )


def identity_of(message: feature_pb2.ModelIdentity) -> ModelIdentity:
    """Read a model's identity."""
    return ModelIdentity(
        name=message.name,
        version=message.version,
        weights_digest=message.weights_digest,
        precision=message.precision,
        preprocessing_digest=message.preprocessing_digest,
        weights_source=message.weights_source,
        trained=message.trained,
        wiring=message.wiring,
    )


def model_of(message: feature_service_pb2.Model) -> ModelInfo:
    """Read a model."""
    limits = message.limits
    return ModelInfo(
        identity=identity_of(message.identity),
        image_height=message.image_height,
        image_width=message.image_width,
        # Older servers, which do not say, take RGB too.
        image_channels=message.image_channels or 3,
        feature_length=message.feature_length,
        outputs=tuple(message.outputs),
        output_shapes={shape.output: tuple(shape.shape) for shape in message.output_shapes},
        labels=tuple(message.labels),
        precision_check=_precision_check_of(message),
        limits=Limits(
            max_image_bytes=limits.max_image_bytes,
            max_image_pixels=limits.max_image_pixels,
            max_images_per_call=limits.max_images_per_call,
            max_window=limits.max_window,
            max_message_bytes=limits.max_message_bytes,
            max_result_bytes=limits.max_result_bytes,
            max_streams=limits.max_streams,
        ),
    )


def _precision_check_of(message: feature_service_pb2.Model) -> PrecisionCheck | None:
    if not message.HasField("precision_check"):
        return None
    check = message.precision_check
    return PrecisionCheck(images=check.images, mean_cosine=check.mean_cosine, min_cosine=check.min_cosine)


def _array_of(feature: feature_pb2.Feature) -> Array:
    # A view: bytes are immutable, so that the array is read-only.
    try:
        return np.frombuffer(feature.values, np.dtype("<f4")).reshape(feature.shape)
    except ValueError as error:
        raise UnexpectedReplyError(
            f"output {feature.output!r} has {len(feature.values)} bytes, which is not float32 {list(feature.shape)}"
        ) from error


def _error_of(message: feature_pb2.FrameError) -> FrameError:
    return FrameError(
        reason=_known(ErrorReason, message.reason),
        message=message.message,
        retry_after_s=message.retry_after.ToNanoseconds() / 1e9 if message.HasField("retry_after") else None,
    )


def _class_of(message: feature_pb2.Classification) -> Classification:
    return Classification(class_index=message.class_index, label=message.label, probability=message.probability)


def _timings_of(message: feature_pb2.Timings) -> Timings:
    return Timings(
        receive_s=message.receive_s,
        decode_s=message.decode_s,
        queue_s=message.queue_s,
        execute_s=message.execute_s,
        reply_s=message.reply_s,
    )


def _datetime_of(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def _known(reasons: type[_Reason], number: int) -> _Reason:
    """Read an enum's value, which a newer server may have chosen from a longer list."""
    try:
        return reasons(number)
    except ValueError:
        return reasons.UNSPECIFIED
