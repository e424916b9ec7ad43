"""Several front ends and what else a server can do: quotas, other protocols, traces, other weights."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import psutil
import pytest

from collector import SERVER, collecting
from credentials import bearing, write_tokens
from nasfeat.inference.v2 import inference_pb2
from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from nasfeat_server.app import App
from nasfeat_server.config import SecurityConfig, TracingConfig
from nasfeat_server.engine.fake import fingerprint
from nasfeat_server.rpc.control_client import connected as admin_of
from serving import frame, metric, next_result, opening, pixels, running, until

# Channels of one process share their connections otherwise.
_OF_ITS_OWN = (("grpc.use_local_subchannel_pool", 1),)
_REQUEST = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(7)])
_OIP = "/inference.GRPCInferenceService/"


@contextlib.asynccontextmanager
async def _channels(app: App) -> AsyncIterator[list[Any]]:
    """Give two channels, each to another front end: who connects after a stream is granted finds the other one."""
    async with contextlib.AsyncExitStack() as stack:
        channels, calls = [], []
        for _ in range(2):
            channel = grpc.aio.insecure_channel(str(app.listening), options=_OF_ITS_OWN)
            channels.append(await stack.enter_async_context(channel))
            calls.append(await _opened(channel))
        yield channels
        for call in calls:
            call.cancel()


async def _opened(channel: Any, metadata: Any = None) -> Any:
    call: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures(metadata=metadata)
    await call.write(opening())
    assert (await call.read()).HasField("granted")
    return call


async def _code(call: Any) -> grpc.StatusCode:
    """Give the status of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


@contextlib.asynccontextmanager
async def _of_tenants(app: App, *tokens: str) -> AsyncIterator[list[tuple[Any, Any]]]:
    """Give a channel and a stream for each token, in turns on one front end and on the other."""
    async with contextlib.AsyncExitStack() as stack:
        both = []
        for token in tokens:
            channel = grpc.aio.insecure_channel(str(app.listening), options=_OF_ITS_OWN)
            both.append((await stack.enter_async_context(channel), await _opened(channel, bearing(token))))
        yield both
        for _, call in both:
            call.cancel()


async def test_a_tenant_has_its_quota_over_all_front_ends(tmp_path: Path) -> None:
    """Streams and frames count wherever they are; a revoked token ends its stream; the metrics know it all."""
    limits = {"max_streams": 3, "frames_per_second": 1e-6, "burst": 4}
    path = write_tokens(tmp_path / "tokens.toml", {"a": (("one", "two"), limits), "b": (("other",), {})})
    async with running(front_ends=2, security=SecurityConfig(tokens=path)) as app:
        async with _of_tenants(app, "one", "two", "other") as ((near, call), (far, second), (_, free)):
            assert [metric(app, "nasfeat_front_end_load", front_end=str(index)) for index in range(2)] in (
                [2.0, 1.0],
                [1.0, 2.0],
            )
            stubs = [feature_service_pb2_grpc.FeatureServiceStub(channel) for channel in (near, far)]
            for stub in stubs:
                await stub.ExtractFeatures(_REQUEST, metadata=bearing("one"))
            for stream in (call, second):
                await stream.write(frame(0))
                assert await next_result(stream)
            # The burst is used up, half of it by each.
            for stub in stubs:
                refused: Any = stub.ExtractFeatures(_REQUEST, metadata=bearing("two"))
                assert await _code(refused) is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert await _code(stub.ExtractFeatures(_REQUEST)) is grpc.StatusCode.UNAUTHENTICATED
            # Neither waits for the rate of the other tenant.
            await free.write(frame(1))
            assert await next_result(free)
            third = await _opened(near, bearing("one"))
            too_many: Any = stubs[1].StreamFeatures(metadata=bearing("two"))
            await too_many.write(opening())
            with pytest.raises(grpc.aio.AioRpcError, match="tenant a has 3 streams open") as caught:
                await too_many.read()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            third.cancel()
            await until(lambda: metric(app, "nasfeat_tenant_frames_total", tenant="a") == 4)
            await until(lambda: metric(app, "nasfeat_auth_failures_total", reason="missing") == 2)
            assert metric(app, "nasfeat_tenant_throttled_total", tenant="a") == 2
            await until(lambda: metric(app, "nasfeat_tenant_streams", tenant="a") == 2)
            write_tokens(path, {"a": (("two",), limits), "b": (("other",), {})})
            with pytest.raises(grpc.aio.AioRpcError, match="the token of this stream has been revoked"):
                await next_result(call)
        await until(lambda: metric(app, "nasfeat_tenant_streams", tenant="a") == 0)


async def test_a_waiting_tenant_goes_on_when_its_rate_allows_it(tmp_path: Path) -> None:
    """Frames on both front ends wait in one line, and pass when the file gives the tenant a rate without a limit."""
    path = write_tokens(tmp_path / "tokens.toml", {"a": (("one",), {"frames_per_second": 1e-6, "burst": 1})})
    async with running(front_ends=2, security=SecurityConfig(tokens=path)) as app:
        async with _of_tenants(app, "one", "one", "one") as ((_, first), (_, second), (_, lost)):
            await first.write(frame(0))
            assert await next_result(first)
            for call in (first, second, lost):
                await call.write(frame(1))
            await until(lambda: metric(app, "nasfeat_tenant_throttled_total", tenant="a") == 3)
            lost.cancel()
            write_tokens(path, {"a": (("one",), {})})
            for call in (first, second):
                result = await next_result(call)
                assert result
                assert result.HasField("features")
        await until(lambda: metric(app, "nasfeat_slots_in_use") == 0)


async def test_other_protocols_are_spoken_and_know_the_whole_server(tmp_path: Path) -> None:
    """Either front end answers, tells of readiness and versions, and counts the images of both."""
    async with (
        running(front_ends=2, weights="random:1", model_version="1", control=tmp_path / "control") as app,
        _channels(app) as channels,
        admin_of(tmp_path / "control") as admin,
    ):
        for channel in channels:
            infer: Any = channel.unary_unary(
                f"{_OIP}ModelInfer",
                request_serializer=inference_pb2.ModelInferRequest.SerializeToString,
                response_deserializer=inference_pb2.ModelInferResponse.FromString,
            )
            image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
            tensor = inference_pb2.ModelInferRequest.InferInputTensor(name="image", datatype="UINT8", shape=image.shape)
            name = "fake_nasnet_cifar"
            request = inference_pb2.ModelInferRequest(
                model_name=name, inputs=[tensor], raw_input_contents=[image.tobytes()]
            )
            response = await infer(request)
            values = np.frombuffer(response.raw_output_contents[0], np.float32)
            np.testing.assert_array_equal(values, fingerprint(image, 768)[0] + 1)
        await admin.load("random:2", "2", 0)
        for channel in channels:
            await _tells(channel, "ModelReady", inference_pb2.ModelReadyRequest(name=name), lambda told: told.ready)
            index = inference_pb2.RepositoryIndexRequest()
            await _tells(channel, "RepositoryIndex", index, lambda told: {one.version for one in told.models} == _BOTH)
            statistics = inference_pb2.ModelStatisticsRequest(name=name, version="1")
            await _tells(channel, "ModelStatistics", statistics, lambda told: told.model_stats[0].inference_count == 2)


_BOTH = {"1", "2"}


async def _tells(channel: Any, method: str, request: Any, holds: Any) -> None:
    """Ask until it `holds`: the state of the whole server is known a moment late."""
    answer = getattr(inference_pb2, f"{method}Response")
    ask = channel.unary_unary(
        f"{_OIP}{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    while not holds(await ask(request)):  # noqa: ASYNC110 - it is only to be asked
        await asyncio.sleep(0.05)


async def test_calls_of_each_are_traced() -> None:
    """Each sends its own spans, errors are logged with them, and the metrics count those of all."""
    async with collecting() as collector:
        tracing = TracingConfig(endpoint=collector.endpoint, ratio=1.0)
        async with running(front_ends=2, tracing=tracing) as app, _channels(app) as channels:
            for channel in channels:
                await feature_service_pb2_grpc.FeatureServiceStub(channel).ExtractFeatures(_REQUEST)
            spans = await collector.wait_for(2, "nasfeat.v1.FeatureService/ExtractFeatures")
            assert {span.kind for span in spans} == {SERVER}
            assert len({span.resource["process.pid"] for span in spans}) == 2
            frames = await collector.wait_for(2)
            assert {span.parent_id for span in frames} == {span.span_id for span in spans}
            await until(lambda: metric(app, "nasfeat_trace_spans_total", outcome="sent") >= 4)


async def test_one_that_is_started_again_serves_what_is_served_then(tmp_path: Path) -> None:
    """Killed beside a canary, it comes back with both versions; the one that is given up leaves all of them."""
    async with (
        running(front_ends=2, weights="random:1", model_version="v1", control=tmp_path / "control") as app,
        admin_of(tmp_path / "control") as admin,
    ):
        await admin.load("random:2", "v2", 0)
        edge: Any = app._front
        psutil.Process(edge._children[0].pid).kill()
        await until(lambda: metric(app, "nasfeat_front_end_restarts_total", front_end="0") == 1)
        await until(lambda: metric(app, "nasfeat_front_end_up", front_end="0") == 1)
        async with _channels(app) as channels:
            for channel in channels:
                stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
                for model, version in (("", "v1"), ("canary", "v2")):
                    request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(7)], model=model)
                    assert (await stub.ExtractFeatures(request)).identity.version == version
            await admin.roll_back(move_streams=False)
            while len((await admin.status()).models) > 1:  # noqa: ASYNC110 - whether a version has left is to be asked
                await asyncio.sleep(0.005)
            gone = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(7)], model="v2")
            for channel in channels:
                refused = feature_service_pb2_grpc.FeatureServiceStub(channel).ExtractFeatures(gone)
                assert await _code(refused) is grpc.StatusCode.NOT_FOUND
