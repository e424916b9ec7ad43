"""The one table of errors is total, and what newer servers say is not misread."""

import grpc
import grpc.aio
import pytest

from nasfeat.v1 import feature_pb2, feature_service_pb2
from nasfeat_client import DropReason, ErrorReason, NasfeatError, ServerUnavailableError, UnexpectedReplyError
from nasfeat_client._results import identity_of, result_of
from nasfeat_client._status import ERRORS, error_of

IDENTITY = identity_of(feature_pb2.ModelIdentity())


@pytest.mark.parametrize("key", [*grpc.StatusCode, *ErrorReason])
def test_every_status_and_reason_has_an_error(key: grpc.StatusCode | ErrorReason) -> None:
    """Each maps to a leaf of the tree or to a kind that callers can tell from others."""
    assert issubclass(ERRORS[key], NasfeatError)
    assert ERRORS[key] is not NasfeatError


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_status_becomes_an_error_with_its_details(code: grpc.StatusCode) -> None:
    """The server and its words are in the message; without words, the code's name is."""
    empty = grpc.aio.Metadata()
    error = error_of(grpc.aio.AioRpcError(code, empty, empty, details="what was wrong"), "host:1")
    assert type(error) is ERRORS[code]
    assert str(error) == "host:1: what was wrong"
    assert code.name in str(error_of(grpc.aio.AioRpcError(code, empty, empty), "host:1"))


def test_a_status_that_grpc_lost_is_unavailable() -> None:
    """What gRPC says when a write fails as the call ends is no failure of the server's."""
    empty = grpc.aio.Metadata()
    lost = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, empty, empty, details="Internal error from Core")
    assert type(error_of(lost, "host:1")) is ServerUnavailableError


def test_a_call_that_a_proxy_cut_off_is_unavailable() -> None:
    """A proxy that loses the server resets the call; no engine has failed, and streams go on elsewhere."""
    empty = grpc.aio.Metadata()
    details = "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))"
    error = error_of(grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, empty, empty, details=details), "host:1")
    assert type(error) is ServerUnavailableError
    assert str(error) == f"host:1: the call was cut off on its way: {details}"


def test_the_wires_enums_are_mirrored() -> None:
    """Every reason of the wire has its name here."""
    names = {f"ERROR_REASON_{reason.name}": reason.value for reason in ErrorReason}
    assert names == dict(feature_pb2.ErrorReason.items())
    drops = {f"DROP_REASON_{reason.name}": reason.value for reason in DropReason}
    assert drops == dict(feature_service_pb2.DropReason.items())


def test_reasons_of_the_future_are_unspecified() -> None:
    """A newer server's reason is still a failure, with its message."""
    message = feature_service_pb2.FrameResult(frame_id=1)
    message.error.ParseFromString(bytes([8, 99]) + b"\x12\x03new")
    result = result_of(message, IDENTITY)
    assert result.error
    assert (result.error.reason, result.error.message) == (ErrorReason.UNSPECIFIED, "new")
    with pytest.raises(UnexpectedReplyError, match="new"):
        result.raise_for_error()


def test_replies_that_make_no_sense_are_errors() -> None:
    """A result without an outcome, or with values that do not fit their shape, is refused."""
    with pytest.raises(UnexpectedReplyError, match="frame 4 has no outcome"):
        result_of(feature_service_pb2.FrameResult(frame_id=4), IDENTITY)
    message = feature_service_pb2.FrameResult()
    message.features.features.add(output="global_pool", shape=[3], values=bytes(8))
    with pytest.raises(UnexpectedReplyError, match=r"8 bytes, which is not float32 \[3\]"):
        result_of(message, IDENTITY)
