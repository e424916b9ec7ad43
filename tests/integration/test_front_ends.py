"""Several front ends on one port, as clients and operators see them."""

import asyncio
import contextlib
import dataclasses
import itertools
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import numpy as np
import psutil
import pytest

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc, load_report_pb2
from nasfeat_client import AsyncFeatureClient, ClientConfig, ResumeConfig, StreamOptions
from nasfeat_server.app import App
from nasfeat_server.app.front_ends.group import FrontEnds
from nasfeat_server.engine.fake import fingerprint
from nasfeat_server.errors import ConfigurationError
from programs import FAKE, server
from serving import frame, metric, next_result, opening, pixels, running, until

# Channels of one process share their connections otherwise.
_OF_ITS_OWN = (("grpc.use_local_subchannel_pool", 1),)
_LENGTH = 768


def _picture(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)


def _loads(app: App, count: int) -> list[float]:
    return [metric(app, "nasfeat_front_end_load", front_end=str(index)) for index in range(count)]


def _of_all(app: App, name: str) -> float:
    """Add up all samples of a metric."""
    samples = (sample for family in app._metrics.registry.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == name)


@contextlib.asynccontextmanager
async def _streams(app: App, count: int) -> AsyncIterator[list[Any]]:
    """Open `count` streams, each over a connection of its own and after the one before has been granted."""
    async with contextlib.AsyncExitStack() as stack:
        calls: list[Any] = []
        for _ in range(count):
            channel = grpc.aio.insecure_channel(str(app.listening), options=_OF_ITS_OWN)
            stub = feature_service_pb2_grpc.FeatureServiceStub(await stack.enter_async_context(channel))
            call: Any = stub.StreamFeatures()
            await call.write(opening())
            assert (await call.read()).HasField("granted")
            calls.append(call)
        yield calls


async def _answers(call: Any, numbers: range) -> None:
    """Send frames and hold what comes back against what the fake engine makes of each."""
    for number in numbers:
        await call.write(frame(number))
    for number in numbers:
        result = await next_result(call)
        assert result
        values = np.frombuffer(result.features.features[0].values, np.float32)
        image = np.frombuffer(pixels(number).raw.data, np.uint8).reshape(1, 32, 32, 3)
        np.testing.assert_array_equal(values, fingerprint(image, _LENGTH)[0])


async def test_streams_and_calls_go_through_all_of_them_and_are_counted_once() -> None:
    """Connections are spread exactly, each image has its own features, and the metrics are of the whole server."""
    async with running(front_ends=2) as app:
        async with _streams(app, 6) as calls:
            assert _loads(app, 2) == [3, 3]
            await asyncio.gather(*(_answers(call, range(40)) for call in calls))
            await until(lambda: metric(app, "nasfeat_streams", overload="block") == 6)
            request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(number) for number in range(4)])
            for _ in range(4):
                async with grpc.aio.insecure_channel(str(app.listening), options=_OF_ITS_OWN) as channel:
                    response = await feature_service_pb2_grpc.FeatureServiceStub(channel).ExtractFeatures(request)
                    assert len(response.results) == 4
            for call in calls:
                await call.done_writing()
                assert await next_result(call) is None
        await until(lambda: metric(app, "nasfeat_frames_total", outcome="ok", reason="") == 6 * 40 + 4 * 4)
        await until(lambda: _of_all(app, "nasfeat_streams") == 0)
        assert metric(app, "nasfeat_stage_seconds_count", stage="execute") == 6 * 40 + 4 * 4
        assert metric(app, "nasfeat_requests_total", method="ExtractFeatures", code="OK") == 4
        assert metric(app, "nasfeat_in_flight_frames") == 0
        assert metric(app, "nasfeat_ready") == 1
        await until(lambda: metric(app, "nasfeat_slots_in_use") == 0)


async def test_each_of_them_tells_the_load_of_all() -> None:
    """One has a stream that keeps the device busy; the other one, which has nothing to do, reports that."""
    async with running(front_ends=2, weights="sleep:0.05", max_batch_size=1) as app, _streams(app, 1) as (busy,):
        for number in range(40):
            await busy.write(frame(number))
        async with grpc.aio.insecure_channel(str(app.listening), options=_OF_ITS_OWN) as channel:
            call: Any = channel.unary_stream(
                "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics",
                request_serializer=bytes,
                response_deserializer=load_report_pb2.LoadReport.FromString,
            )
            reports = call(b"")
            report = await reports.read()
            await until(lambda: _loads(app, 2) == [1, 1])
            while report.application_utilization < 0.5 or not report.rps_fractional:
                report = await reports.read()
            assert report.named_metrics["nasfeat.slots_in_use"] > 1
            assert report.cpu_utilization > 0
            reports.cancel()
        for number in range(40):
            result = await next_result(busy)
            assert result
            assert result.frame_id == number


def _pids(app: App) -> list[int | None]:
    edge: Any = app._front
    assert isinstance(edge, FrontEnds)
    return [edge._children[index].pid for index in sorted(edge._children)]


@pytest.mark.slow
async def test_one_that_is_killed_takes_only_its_connections_along() -> None:
    """Under load: resuming streams lose nothing, others notice nothing, slots come back, and it takes calls again."""
    config = ClientConfig(resume=ResumeConfig(longest_pause_s=0.2), connections=2)
    async with running(front_ends=3, weights="sleep:0.002", slots=16) as app:

        async def all_of(client: AsyncFeatureClient) -> None:
            stream = client.stream(map(_picture, range(600)), StreamOptions(frames_per_message=4))
            ids = []
            async for result in stream:
                ids.append(result.frame_id)
                np.testing.assert_array_equal(
                    result.vector, fingerprint(_picture(result.frame_id)[np.newaxis], _LENGTH)[0]
                )
            assert ids == list(range(600))

        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(AsyncFeatureClient(str(app.listening), config=config)) for _ in range(4)
            ]
            async with asyncio.TaskGroup() as tasks:
                for client in clients:
                    tasks.create_task(all_of(client))
                for index, least in ((0, 200), (1, 600), (2, 1200)):
                    done = lambda least=least: metric(app, "nasfeat_frames_total", outcome="ok", reason="") > least  # noqa: E731
                    await until(done)
                    psutil.Process(_pids(app)[index]).kill()
                    name = "nasfeat_front_end_restarts_total"
                    await until(lambda name=name, index=index: metric(app, name, front_end=str(index)) == 1)  # type: ignore[misc]
                    await until(lambda index=index: metric(app, "nasfeat_front_end_up", front_end=str(index)) == 1)  # type: ignore[misc]
        await until(lambda: metric(app, "nasfeat_slots_in_use") == 0)
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 0)
        await until(lambda: _of_all(app, "nasfeat_streams") == 0)
        # Front ends tell of their connections a little later than of their streams, and both steer the next ones.
        await until(lambda: _loads(app, 3) == [0, 0, 0])
        # The kernel has numbered those anew that share the port.
        async with _streams(app, 9):
            assert _loads(app, 3) == [3, 3, 3]


@pytest.mark.slow
async def test_sigterm_answers_all_that_was_read() -> None:
    """The program ends with 0 under load: each stream's summary counts as many frames as had results, none is lost."""
    async with server(*FAKE, "--front-ends", "2", "--weights", "sleep:0.02", "--grace", "60") as program:
        async with contextlib.AsyncExitStack() as stack:
            ended = []
            for _ in range(4):
                channel = grpc.aio.insecure_channel(program.listening, options=_OF_ITS_OWN)
                stub = feature_service_pb2_grpc.FeatureServiceStub(await stack.enter_async_context(channel))
                started = asyncio.Event()
                ended.append(asyncio.create_task(_flood(stub, started)))
                await started.wait()
            program.process.send_signal(signal.SIGTERM)
            for results, received, code in await asyncio.gather(*ended):
                assert results == received > 0
                # A status that comes while a frame is being sent is hidden: https://github.com/grpc/grpc/pull/36066
                assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
        assert await program.process.wait() == 0


async def _flood(stub: Any, started: asyncio.Event) -> tuple[int, int, grpc.StatusCode | None]:
    """Send without end; gives the results, what the summary says was received, and the status."""
    call: Any = stub.StreamFeatures()
    await call.write(opening(window=16))

    async def send() -> None:
        for number in itertools.count():
            await call.write(frame(number, pixels(number % 2**16)))

    sending = asyncio.ensure_future(send())
    results, received = 0, -1
    code = None
    try:
        async for reply in call:
            results += reply.HasField("result")
            if results > 4:
                started.set()
            if reply.HasField("summary"):
                received = reply.summary.received
    except grpc.aio.AioRpcError as error:
        code = error.code()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    return results, received, code


async def test_a_port_of_another_server_is_found_in_use() -> None:
    """Sharing a port among front ends does not mean to share it with whoever has it."""
    async with running() as app:
        assert app.listening
        with pytest.raises(ConfigurationError, match="is the port in use"):
            await App(dataclasses.replace(app.config, front_ends=2, listen=app.listening)).run(asyncio.Event())
