"""The one table between errors, gRPC status codes and the wire's reasons."""

import math
from dataclasses import dataclass

import grpc

from nasfeat.v1 import feature_pb2
from nasfeat_server import errors
from nasfeat_server.telemetry.events import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What an error is called on the wire and in the metrics."""

    code: grpc.StatusCode
    reason: feature_pb2.ErrorReason.ValueType
    outcome: Outcome


def _status(code: grpc.StatusCode, reason: str, outcome: Outcome) -> Status:
    return Status(code=code, reason=feature_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}"), outcome=outcome)


STATUSES: dict[type[errors.NasfeatError], Status] = {
    errors.InvalidImageError: _status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_IMAGE", Outcome.INVALID),
    errors.InvalidRequestError: _status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", Outcome.INVALID),
    errors.ModelNotFoundError: _status(grpc.StatusCode.NOT_FOUND, "INVALID_REQUEST", Outcome.INVALID),
    # Ends calls and streams, never one image: the reason is on no wire.
    errors.UnauthenticatedError: _status(grpc.StatusCode.UNAUTHENTICATED, "INVALID_REQUEST", Outcome.INVALID),
    errors.OverloadedError: _status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", Outcome.REJECTED),
    errors.DeadlinePassedError: _status(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED", Outcome.EXPIRED),
    errors.ShuttingDownError: _status(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", Outcome.REJECTED),
    errors.ExecutionFailedError: _status(grpc.StatusCode.INTERNAL, "EXECUTION_FAILED", Outcome.ERROR),
    errors.DeviceMemoryError: _status(grpc.StatusCode.INTERNAL, "EXECUTION_FAILED", Outcome.ERROR),
    errors.ReplicaLostError: _status(grpc.StatusCode.UNAVAILABLE, "REPLICA_LOST", Outcome.ERROR),
}


def status_of(error: errors.NasfeatError) -> Status:
    """Look `error` up by its class."""
    return STATUSES[type(error)]


def trailing_metadata(error: errors.NasfeatError) -> tuple[tuple[str, str], ...]:
    """Tell clients when it is worth while to try again, as gRPC's retry policy (A6) reads it."""
    after_s = retry_after_s(error)
    return () if after_s is None else (("grpc-retry-pushback-ms", str(math.ceil(after_s * 1000))),)


def retry_after_s(error: errors.NasfeatError) -> float | None:
    """Look up after how many seconds the same request could succeed; None if that is not known."""
    if isinstance(error, errors.OverloadedError | errors.DeadlinePassedError):
        return error.retry_after_s
    return None
