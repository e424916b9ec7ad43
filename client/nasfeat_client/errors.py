"""Everything that can go wrong with a call, a stream or one image, as one tree.

`nasfeat_client._status` maps gRPC's status codes and the wire's `ErrorReason`s to these. Wrong arguments, such as an
image of a type that cannot be sent, raise `TypeError` or `ValueError` as anywhere else.
"""


class NasfeatError(Exception):
    """Base of every error of this SDK."""


class InvalidImageError(NasfeatError):
    """The image cannot be read, cannot be decoded, or is outside the limits."""


class InvalidRequestError(NasfeatError):
    """The request or its options are wrong."""


class ModelNotFoundError(NasfeatError):
    """The server serves no model of this name."""


class AccessDeniedError(NasfeatError):
    """The server, or a proxy before it, wants other credentials."""


class NotSupportedError(NasfeatError):
    """The peer does not know this call or option: it is an older nasfeat, or none."""


class OverloadedError(NasfeatError):
    """The server is full; the same request may succeed later.

    Attributes:
        retry_after_s: seconds after which the server would like to be asked again; None if it did not say.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlinePassedError(NasfeatError):
    """The call's timeout or the frame's deadline passed before there was a result."""


class FrameDroppedError(NasfeatError):
    """The frame was given up under the stream's overload policy or frame deadline, by the stream's own wish."""


class ServerUnavailableError(NasfeatError):
    """The server cannot be reached or went away; another server, or this one later, may answer."""


class ShuttingDownError(ServerUnavailableError):
    """The server is stopping and takes no new work."""


class ReplicaLostError(ServerUnavailableError):
    """The processes that ran this image died, more often than the server tries one image."""


class ExecutionFailedError(NasfeatError):
    """The server failed on this work."""


class UnexpectedReplyError(NasfeatError):
    """The peer answered with something that this version of the SDK does not understand."""
