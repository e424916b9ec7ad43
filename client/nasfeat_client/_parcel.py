"""Frames that travel in one message."""

from nasfeat.v1 import feature_service_pb2

# Of a frame inside a message: tag and length.
_OVERHEAD_BYTES = 16


class Parcel:
    """Frames that are to be sent next, each in a request of its own until they are.

    Args:
        max_frames: frames that a message may hold.
        max_bytes: bytes that it may have.
    """

    def __init__(self, *, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._requests: list[feature_service_pb2.StreamFeaturesRequest] = []
        self._nbytes = 0

    def __bool__(self) -> bool:
        """Tell whether there is a frame."""
        return bool(self._requests)

    @property
    def full(self) -> bool:
        """Whether no frame more may be added."""
        return len(self._requests) >= self._max_frames

    def has_room_for(self, request: feature_service_pb2.StreamFeaturesRequest) -> bool:
        """Tell whether the frame of `request` may be added; alone, any may."""
        size = request.ByteSize() + _OVERHEAD_BYTES
        return not self._requests or (not self.full and self._nbytes + size <= self._max_bytes)

    def add(self, request: feature_service_pb2.StreamFeaturesRequest) -> None:
        """Add the frame of `request`."""
        self._requests.append(request)
        self._nbytes += request.ByteSize() + _OVERHEAD_BYTES

    def take(self) -> feature_service_pb2.StreamFeaturesRequest:
        """Give the message of all frames, and start anew; a frame that is alone is not copied."""
        requests, self._requests, self._nbytes = self._requests, [], 0
        if len(requests) == 1:
            return requests[0]
        message = feature_service_pb2.StreamFeaturesRequest()
        message.frames.frames.extend(request.frame for request in requests)
        return message
