"""What tenants have apart from each other, beside their quotas."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from credentials import bearing, write_tokens
from gated import gated
from nasfeat.v1 import feature_service_pb2
from nasfeat_server.config import SecurityConfig
from nasfeat_server.rpc.job import FrameJob
from nasfeat_server.rpc.metered import MeteredPath
from nasfeat_server.rpc.outputs import Selection
from nasfeat_server.scheduling.meter import Meter
from nasfeat_server.scheduling.quota import Rate
from nasfeat_server.scheduling.sharing import Sharing
from nasfeat_server.security.tenants import Tenants
from serving import connected, frame, next_result, opening, pixels, running

_TOKENS: Mapping[str, Any] = {"a": (("first of a", "second of a"), {}), "b": (("one of b",), {})}
_REQUEST = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(7)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of two tenants."""
    return write_tokens(tmp_path / "tokens.toml", _TOKENS)


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
async def test_results_are_shared_among_a_tenants_own_images(path: Path, cache_bytes: int) -> None:
    """The same image of another tenant is computed again: that it has been sent is nobody else's business."""
    async with (
        running(security=SecurityConfig(tokens=path), single_flight=True, cache_bytes=cache_bytes) as app,
        connected(app) as stub,
    ):
        sources = []
        for token in ("first of a", "second of a", "one of b", "one of b"):
            response = await stub.ExtractFeatures(_REQUEST, metadata=bearing(token))
            sources.append(feature_service_pb2.ResultSource.Name(response.results[0].source))
    again = "RESULT_SOURCE_CACHED" if cache_bytes else "RESULT_SOURCE_COMPUTED"
    assert sources == ["RESULT_SOURCE_COMPUTED", again, "RESULT_SOURCE_COMPUTED", again]


async def test_nobody_waits_for_the_image_of_another_tenant(path: Path) -> None:
    """Of the same image on its way thrice, the two of one tenant are computed once, that of the other by itself."""
    tenants = Tenants(path)
    tenants.load()
    async with gated(tenants=tenants, sharing=Sharing(cache=None, max_bytes=2**20)) as server:
        calls: list[Any] = []
        for token in ("first of a", "second of a", "one of b"):
            call: Any = server.stub.StreamFeatures(metadata=bearing(token))
            await call.write(opening())
            await call.write(frame(7))
            calls.append(call)
            await server.received(len(calls))
        server.device.turnstile.admit(10)
        results = [await next_result(call) for call in calls]
    sources = [feature_service_pb2.ResultSource.Name(result.source) for result in results if result]
    assert sources == ["RESULT_SOURCE_COMPUTED", "RESULT_SOURCE_SHARED", "RESULT_SOURCE_COMPUTED"]
    assert server.device.computed == [7, 7]


async def test_a_frame_that_waited_too_long_leaves_its_turn_to_the_next() -> None:
    """A stream whose deadline is shorter than the pauses of its rate still has frames computed at that rate."""
    meter = Meter(Rate(per_second=1e-6, burst=1))
    async with gated() as server:
        path = MeteredPath.of(server.path, owner="a", meter=meter)
        lane = path.dispatcher.open_lane(1.0)
        jobs = [_job(lane, deadline=time.monotonic() + left_s) for left_s in (-1.0, 1e6)]
        for job in jobs:
            assert meter.ready_in_s() == 0
            path.admit(job, await path.reserve())
        assert (meter.admitted, meter.pass_now()) == (1, False)
        for job in jobs:
            path.settle(job)
        path.dispatcher.close_lane(lane)


def _job(lane: int, *, deadline: float) -> FrameJob:
    return FrameJob(
        frame_id=0,
        capture_time=None,
        image=pixels(0),
        lane=lane,
        weight=1.0,
        selection=Selection(asked=(), computed=(), shapes=(), nbytes=0, top_k=0, labels=()),
        deadline=deadline,
    )
