"""The typed Python client of nasfeat: images in, NASNet-A feature vectors out.

    with FeatureClient("localhost:50051") as client:
        vector = client.extract("photo.jpg").vector
        best = client.classify("photo.jpg")[0].label

`AsyncFeatureClient` is the same for asyncio programs. `nasfeat_client.testing` has a server for tests.
"""

from nasfeat_client._client import AsyncFeatureClient
from nasfeat_client._open_stream import AsyncOpenStream
from nasfeat_client._result_stream import AsyncResultStream
from nasfeat_client._sync_streams import OpenStream, ResultStream
from nasfeat_client.config import ClientConfig, Compression, KeepaliveConfig, ResumeConfig, RetryConfig, TlsConfig
from nasfeat_client.errors import (
    AccessDeniedError,
    DeadlinePassedError,
    ExecutionFailedError,
    FrameDroppedError,
    InvalidImageError,
    InvalidRequestError,
    ModelNotFoundError,
    NasfeatError,
    NotSupportedError,
    OverloadedError,
    ReplicaLostError,
    ServerUnavailableError,
    ShuttingDownError,
    UnexpectedReplyError,
)
from nasfeat_client.images import ColorMatrix, ColorRange, Frame, Image, PixelFormat, Pixels
from nasfeat_client.result import FEATURE_VECTOR, Classification, FrameError, Result
from nasfeat_client.sync import FeatureClient
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

__all__ = [
    "FEATURE_VECTOR",
    "AccessDeniedError",
    "AsyncFeatureClient",
    "AsyncOpenStream",
    "AsyncResultStream",
    "Classification",
    "ClientConfig",
    "ColorMatrix",
    "ColorRange",
    "Compression",
    "DeadlinePassedError",
    "DeliveryOrder",
    "DropReason",
    "ErrorReason",
    "ExecutionFailedError",
    "FeatureClient",
    "Frame",
    "FrameDroppedError",
    "FrameError",
    "Image",
    "InvalidImageError",
    "InvalidRequestError",
    "KeepaliveConfig",
    "Limits",
    "ModelIdentity",
    "ModelInfo",
    "ModelNotFoundError",
    "NasfeatError",
    "NotSupportedError",
    "OpenStream",
    "OverloadPolicy",
    "OverloadedError",
    "PixelFormat",
    "Pixels",
    "PrecisionCheck",
    "Priority",
    "ReplicaLostError",
    "Result",
    "ResultSource",
    "ResultStream",
    "ResumeConfig",
    "RetryConfig",
    "ServerUnavailableError",
    "ShuttingDownError",
    "StreamGrant",
    "StreamOptions",
    "StreamSummary",
    "Timings",
    "TlsConfig",
    "UnexpectedReplyError",
]
