"""The one table from gRPC's status codes and the wire's reasons to errors."""

from collections.abc import Mapping

import grpc
import grpc.aio

from nasfeat_client import errors
from nasfeat_client.types import ErrorReason

# What a gRPC server says in its trailing metadata of when to come again (gRFC A6).
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
# What gRPC puts in the place of the peer's status when a write fails as the call ends (grpc/grpc#36066).
_LOST = "Internal error from Core"
# How a proxy between ends a call whose server it has lost, once that has begun to answer; no server says it of itself.
_RESET = "RST_STREAM"

ERRORS: Mapping[grpc.StatusCode | ErrorReason, type[errors.NasfeatError]] = {
    # A call that should have failed or given a message, and did neither.
    grpc.StatusCode.OK: errors.UnexpectedReplyError,
    # This side's own cancellations are never looked up: only the peer's are.
    grpc.StatusCode.CANCELLED: errors.ServerUnavailableError,
    grpc.StatusCode.UNKNOWN: errors.ExecutionFailedError,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequestError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlinePassedError,
    grpc.StatusCode.NOT_FOUND: errors.ModelNotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: errors.InvalidRequestError,
    grpc.StatusCode.PERMISSION_DENIED: errors.AccessDeniedError,
    grpc.StatusCode.UNAUTHENTICATED: errors.AccessDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.OverloadedError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.InvalidRequestError,
    grpc.StatusCode.ABORTED: errors.ServerUnavailableError,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidRequestError,
    grpc.StatusCode.UNIMPLEMENTED: errors.NotSupportedError,
    grpc.StatusCode.INTERNAL: errors.ExecutionFailedError,
    grpc.StatusCode.UNAVAILABLE: errors.ServerUnavailableError,
    grpc.StatusCode.DATA_LOSS: errors.ExecutionFailedError,
    ErrorReason.UNSPECIFIED: errors.UnexpectedReplyError,
    ErrorReason.INVALID_IMAGE: errors.InvalidImageError,
    ErrorReason.INVALID_REQUEST: errors.InvalidRequestError,
    ErrorReason.OVERLOADED: errors.OverloadedError,
    ErrorReason.DEADLINE_PASSED: errors.DeadlinePassedError,
    ErrorReason.SHUTTING_DOWN: errors.ShuttingDownError,
    ErrorReason.EXECUTION_FAILED: errors.ExecutionFailedError,
    ErrorReason.REPLICA_LOST: errors.ReplicaLostError,
}


def error_of(failure: grpc.aio.AioRpcError, target: str) -> errors.NasfeatError:
    """Turn a call's failure into the SDK's error, which names the server."""
    details = failure.details() or ""
    if failure.code() is grpc.StatusCode.INTERNAL:
        if details == _LOST:
            return errors.ServerUnavailableError(f"{target}: the call ended while something was being sent")
        if _RESET in details:
            return errors.ServerUnavailableError(f"{target}: the call was cut off on its way: {details}")
    kind = ERRORS[failure.code()]
    message = f"{target}: {details or failure.code().name}"
    if kind is errors.OverloadedError:
        return errors.OverloadedError(message, retry_after_s=_retry_after_s(failure))
    return kind(message)


def _retry_after_s(failure: grpc.aio.AioRpcError) -> float | None:
    pushback = str((failure.trailing_metadata() or {}).get(_PUSHBACK_KEY, ""))
    # A negative number would mean: do not come again.
    return int(pushback) / 1000 if pushback.isdecimal() else None
