"""What services of other protocols have of the interceptors that know methods by name."""

from typing import Any, NamedTuple

import pytest

from nasfeat_server.rpc.tracing import TracingInterceptor
from nasfeat_server.telemetry.traces import CallTrace

_THEIRS = "other.Service/Method"


class _Call(NamedTuple):
    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class _Tracer:
    """Notes what it is asked about and traces nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def call(self, method: str, metadata: Any) -> CallTrace | None:
        """Note `method`."""
        assert metadata == ()
        self.asked.append(method)
        return None


async def _nothing(_: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        (_THEIRS, True),
        ("nasfeat.v1.FeatureService/ExtractFeatures", True),
        ("other.Service/Unknown", False),
        ("grpc.health.v1.Health/Check", False),
    ],
)
async def test_their_calls_are_traced_as_ours_are(method: str, asked: bool) -> None:
    """The tracer decides on methods that are served for images, and on no others."""
    tracer: Any = _Tracer()
    details: Any = _Call(f"/{method}")
    await TracingInterceptor(tracer, (_THEIRS,)).intercept_service(_nothing, details)
    assert tracer.asked == [method] * asked
