"""What the package promises: its names, one method for each call of the wire, and few imports."""

import inspect
import subprocess
import sys

import nasfeat_client
from nasfeat.v1 import feature_service_pb2
from nasfeat_client import AsyncFeatureClient, FeatureClient, testing

METHODS_OF_RPCS = {
    "ExtractFeatures": {"extract", "classify"},
    "StreamFeatures": {"extract_many", "stream", "open_stream"},
    "GetModel": {"model"},
    "ListModels": {"models"},
}


def public(kind: type) -> dict[str, list[str]]:
    """Give the public methods of a class with their parameters."""
    methods = inspect.getmembers(kind, inspect.isfunction)
    return {name: list(inspect.signature(method).parameters) for name, method in methods if not name.startswith("_")}


_EXPORTS = {
    "FEATURE_VECTOR",
    "AccessDeniedError",
    "AsyncFeatureClient",
    "AsyncOpenStream",
    "AsyncResultStream",
    "Classification",
    "ClientConfig",
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
    "PrecisionCheck",
    "ColorMatrix",
    "ColorRange",
    "ModelNotFoundError",
    "NasfeatError",
    "NotSupportedError",
    "OpenStream",
    "OverloadPolicy",
    "OverloadedError",
    "PixelFormat",
    "Pixels",
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
}


def test_exports_are_pinned() -> None:
    """Names come and go on purpose only."""
    assert set(nasfeat_client.__all__) == _EXPORTS
    assert set(testing.__all__) == {
        "FAKE_MODEL",
        "FakeFeatureServer",
        "Refusal",
        "Script",
        "Seen",
        "fake_classes",
        "fake_outputs",
        "fake_vector",
    }


def test_every_rpc_has_a_method() -> None:
    """No call of the service is out of the SDK's reach, and no method is without a call."""
    service = feature_service_pb2.DESCRIPTOR.services_by_name["FeatureService"]
    assert METHODS_OF_RPCS.keys() == set(service.methods_by_name.keys())
    assert set().union(*METHODS_OF_RPCS.values()) == public(AsyncFeatureClient).keys() - {"close"}


def test_both_clients_have_one_surface() -> None:
    """The same methods, with the same parameters."""
    assert public(FeatureClient) == public(AsyncFeatureClient)
    assert inspect.signature(FeatureClient).parameters == inspect.signature(AsyncFeatureClient).parameters


def test_the_import_is_light() -> None:
    """`import nasfeat_client` brings none of the extras' libraries."""
    heavy = ("click", "rich", "PIL", "av", "tensorflow", "keras", "nasfeat_server", "opentelemetry")
    program = f"import sys, nasfeat_client; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
