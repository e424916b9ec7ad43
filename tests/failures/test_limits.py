"""Row 4: limits under many concurrent streams and calls are exact, and whoever is refused hears when to come again."""

import asyncio
import json
from collections import Counter
from typing import Any

import grpc
import grpc.aio
import pytest

from gated import gated
from nasfeat.v1 import feature_pb2, feature_service_pb2, feature_service_pb2_grpc
from nasfeat_server.config import RequestLimits
from serving import connected, frame, metric, next_result, opening, pixels, running, until


async def test_the_line_for_slots_is_exactly_as_long_as_configured() -> None:
    """Row 4: fifty calls at once for two slots and a line of five: seven are let in, 43 are refused with a time."""
    async with gated(slots=2, limits=RequestLimits(max_waiting_images=5)) as server:
        requests = [feature_service_pb2.ExtractFeaturesRequest(images=[pixels(number)]) for number in range(50)]
        calls = [asyncio.ensure_future(_status(server.stub, request)) for request in requests]
        await until(lambda: sum(call.done() for call in calls) == 43)
        server.device.turnstile.admit(50)
        outcomes = Counter(await asyncio.gather(*calls))
    assert outcomes == {(grpc.StatusCode.OK, False): 7, (grpc.StatusCode.RESOURCE_EXHAUSTED, True): 43}


async def _status(stub: Any, request: feature_service_pb2.ExtractFeaturesRequest) -> tuple[grpc.StatusCode, bool]:
    """Give a call's status, and whether it came with a time to try again."""
    try:
        await stub.ExtractFeatures(request)
    except grpc.aio.AioRpcError as error:
        trailing = {str(key): str(value) for key, value in error.trailing_metadata() or ()}
        return error.code(), int(trailing.get("grpc-retry-pushback-ms", 0)) > 0
    return grpc.StatusCode.OK, False


async def test_the_backlogs_of_many_streams_are_exact() -> None:
    """Row 4: twenty streams of ten frames with a backlog of three each: three of each wait, all others are refused."""
    reject = feature_service_pb2.OVERLOAD_POLICY_REJECT
    as_completed = feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED
    async with gated(slots=100) as server:
        blocker: Any = server.stub.StreamFeatures()
        await blocker.write(opening())
        await blocker.write(frame(0))
        await blocker.write(frame(1))
        await server.received(2)
        calls: list[Any] = [server.stub.StreamFeatures() for _ in range(20)]
        for call in calls:
            await call.write(opening(overload_policy=reject, delivery_order=as_completed, backlog=3, window=10))
            for number in range(10):
                await call.write(frame(number))
        await server.received(202)
        assert server.path.dispatcher.depth == 20 * 3
        server.device.turnstile.admit(200)
        for call in calls:
            results = [await next_result(call) for _ in range(10)]
            refused = [result for result in results if result and result.HasField("error")]
            assert len(refused) == 7
            assert {result.error.reason for result in refused} == {feature_pb2.ERROR_REASON_OVERLOADED}
            assert all(result.error.retry_after.ToMilliseconds() > 0 for result in refused)
            call.cancel()
        blocker.cancel()


async def test_streams_beyond_the_limit_are_refused() -> None:
    """Row 4: of twelve streams for ten places, two are refused, each with a time to come again."""
    async with running(limits=RequestLimits(max_streams=10)) as app, connected(app) as stub:
        calls: list[Any] = [stub.StreamFeatures() for _ in range(12)]
        for call in calls:
            await call.write(opening())
        errors = [error for call in calls if (error := await _refusal(call))]
        assert len(errors) == 2
        for error in errors:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.details() == "10 streams are open, which is the limit; try again later"
            assert int(str(dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"])) > 0
        for call in calls:
            call.cancel()


async def _refusal(call: Any) -> grpc.aio.AioRpcError | None:
    """Give the error of a stream that was not granted."""
    try:
        assert (await call.read()).HasField("granted")
    except grpc.aio.AioRpcError as error:
        return error
    return None


@pytest.mark.parametrize("retries", [True, False])
async def test_a_refused_stream_is_retried_by_the_client_s_grpc(retries: bool) -> None:
    """Row 4: nothing is sent before the grant, so that gRPC's own retry policy opens the stream as soon as it can."""
    policy = {
        "maxAttempts": 5,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.1s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
    }
    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]} if retries else {}
    async with running(limits=RequestLimits(max_streams=1)) as app, connected(app) as stub:
        first: Any = stub.StreamFeatures()
        await first.write(opening())
        await first.read()
        options = [("grpc.service_config", json.dumps(config))]
        async with grpc.aio.insecure_channel(str(app.listening), options) as channel:
            second: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures()
            await second.write(opening())
            refused = metric(app, "nasfeat_requests_total", method="StreamFeatures", code="RESOURCE_EXHAUSTED")
            await until(
                lambda: (
                    metric(app, "nasfeat_requests_total", method="StreamFeatures", code="RESOURCE_EXHAUSTED") > refused
                )
            )
            first.cancel()
            if retries:
                await second.write(frame(5))
                result = await next_result(second)
                assert result
                assert result.frame_id == 5
            else:
                with pytest.raises(grpc.aio.AioRpcError, match="1 streams are open"):
                    await second.read()
            second.cancel()
