"""The table between errors, statuses and reasons is total."""

from collections.abc import Iterator

import grpc

from nasfeat.v1 import feature_pb2
from nasfeat_server import errors
from nasfeat_server.rpc.status import STATUSES


def _subclasses(kind: type[errors.NasfeatError]) -> Iterator[type[errors.NasfeatError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def test_every_error_has_a_status_and_a_reason() -> None:
    """Each leaf of the error tree is in the table, and each reason of the wire is used."""
    assert set(STATUSES) == set(_subclasses(errors.NasfeatError))
    used = {status.reason for status in STATUSES.values()}
    assert used == set(feature_pb2.ErrorReason.values()) - {feature_pb2.ERROR_REASON_UNSPECIFIED}


def test_the_wire_says_the_same_status_as_the_table() -> None:
    """The comment of each reason in the proto begins with the status code that its error has."""
    codes = {status.reason: status.code for status in STATUSES.values() if status.code is not grpc.StatusCode.NOT_FOUND}
    assert codes[feature_pb2.ERROR_REASON_OVERLOADED] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert codes[feature_pb2.ERROR_REASON_SHUTTING_DOWN] is grpc.StatusCode.UNAVAILABLE
    assert codes[feature_pb2.ERROR_REASON_REPLICA_LOST] is grpc.StatusCode.UNAVAILABLE
    assert codes[feature_pb2.ERROR_REASON_DEADLINE_PASSED] is grpc.StatusCode.DEADLINE_EXCEEDED
