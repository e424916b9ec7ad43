"""From options and frames to the wire."""

from collections.abc import Sequence

from nasfeat.v1 import feature_service_pb2
from nasfeat_client._images import write_image
from nasfeat_client.images import Frame, Image
from nasfeat_client.types import StreamOptions


def wanted(outputs: Sequence[str], top_k: int) -> StreamOptions:
    """Give the options that ask for these outputs and so many classes.

    Raises:
        TypeError: `outputs` is one string, which would be taken for a list of letters.
        ValueError: `top_k` is negative.
    """
    if isinstance(outputs, str):
        raise TypeError(f"outputs is the string {outputs!r}; it must be a list of names, like [{outputs!r}]")
    return StreamOptions(outputs=tuple(outputs), top_k=top_k)


def options_message(options: StreamOptions, default_window: int | None) -> feature_service_pb2.StreamOptions:
    """Pack a stream's options."""
    message = feature_service_pb2.StreamOptions(
        outputs=options.outputs,
        top_k=options.top_k,
        delivery_order=options.delivery_order.value,
        overload_policy=options.overload_policy.value,
        priority=options.priority.value,
        window=options.window or default_window or 0,
        stream_id=options.stream_id,
        backlog=options.backlog or 0,
        frames_per_message=options.frames_per_message,
    )
    if options.frame_deadline_s is not None:
        message.frame_deadline.FromNanoseconds(round(options.frame_deadline_s * 1e9))
    return message


def frame_request(frame: Frame, max_message_bytes: int) -> feature_service_pb2.StreamFeaturesRequest:
    """Pack a frame, without its id.

    Raises:
        InvalidImageError: its picture cannot be sent.
    """
    request = feature_service_pb2.StreamFeaturesRequest()
    write_image(request.frame.image, frame.image, max_message_bytes)
    if frame.capture_time:
        request.frame.capture_time.FromDatetime(frame.capture_time)
    return request


def extract_request(
    image: Image, options: StreamOptions, max_message_bytes: int
) -> feature_service_pb2.ExtractFeaturesRequest:
    """Pack one picture for a unary call, with what `options` says of outputs and classes.

    Raises:
        InvalidImageError: it cannot be sent.
    """
    request = feature_service_pb2.ExtractFeaturesRequest(outputs=options.outputs, top_k=options.top_k)
    write_image(request.images.add(), image, max_message_bytes)
    return request
