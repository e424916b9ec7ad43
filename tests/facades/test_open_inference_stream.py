"""ModelStreamInfer and ModelInfer where their clients cannot look: bounds, ends, quotas, deadlines, versions."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from credentials import bearing, write_tokens
from inference import NAME, SERVICE, Request, StreamResponse, connected, request
from nasfeat.inference.v2 import inference_pb2
from nasfeat_server.app import App
from nasfeat_server.config import RequestLimits, SecurityConfig
from nasfeat_server.engine.engines.fake import FAILING_PIXEL
from serving import connected as connected_to_ours
from serving import metric, opening, running, until


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a server with one free replica."""
    async with running() as app:
        yield app


def _first(response: Any) -> int:
    """Read the number of the first picture back from its fingerprint."""
    values = np.frombuffer(response.raw_output_contents[0], np.float32)
    return round(float(values[0]) * 255)


async def _send(call: Any, *messages: Request) -> None:
    for message in messages:
        await call.write(message)
    await call.done_writing()


async def _all(call: Any) -> list[StreamResponse]:
    return [response async for response in call]


async def _code(call: Any) -> tuple[grpc.StatusCode, str]:
    return await call.code(), await call.details()


async def test_a_request_may_have_more_images_than_a_window() -> None:
    """One of 5 goes through a window of 2, as those before and behind it do, and they are answered in their order."""
    async with running(limits=RequestLimits(max_window=2)) as app, connected(app) as stub:
        call = stub.stream()
        sizes = (1, 5, 2, 1, 5)
        numbers = itertools.count(1)
        messages = [request(*itertools.islice(numbers, size)) for size in sizes]
        answers, _ = await asyncio.gather(_all(call), _send(call, *messages))
    shapes = [list(answer.infer_response.outputs[0].shape) for answer in answers]
    assert shapes == [[size, 768] for size in sizes]
    assert [answer.infer_response.id for answer in answers] == ["1", "2", "7", "9", "10"]
    assert [_first(answer.infer_response) for answer in answers] == [1, 2, 7, 9, 10]


async def test_a_stream_takes_in_no_more_than_its_window_and_leaves_nothing_behind() -> None:
    """Of 40 requests 8 are in flight; when the client goes, none is, and no slot is held."""
    async with running(weights="sleep:0.3", limits=RequestLimits(max_window=8)) as app, connected(app) as stub:
        call = stub.stream()
        sending = asyncio.create_task(_send(call, *(request(number) for number in range(40))))
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 8)
        assert metric(app, "nasfeat_streams", overload="block") == 1
        for _ in range(20):
            await asyncio.sleep(0)
            assert metric(app, "nasfeat_in_flight_frames") <= 8
        call.cancel()
        await asyncio.wait([sending])
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == metric(app, "nasfeat_slots_in_use") == 0)
        await until(lambda: metric(app, "nasfeat_streams", overload="block") == 0)


async def test_what_fails_on_the_device_fails_alone(app: App) -> None:
    """Its request has the reason, with its id; the others have their vectors."""
    failing = request(7)
    failing.raw_input_contents[0] = bytes(FAILING_PIXEL) + failing.raw_input_contents[0][3:]
    async with connected(app) as stub:
        call = stub.stream()
        await _send(call, request(6), failing, request(8))
        answers = await _all(call)
        assert [(answer.infer_response.id, bool(answer.error_message)) for answer in answers] == [
            ("6", False),
            ("7", True),
            ("8", False),
        ]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.infer(failing)
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_what_is_no_message_is_refused_and_the_stream_lives_on(app: App) -> None:
    """A stream answers it with an error, a call is INVALID_ARGUMENT."""
    async with grpc.aio.insecure_channel(str(app.listening)) as channel:
        call: Any = channel.stream_stream(
            f"{SERVICE}ModelStreamInfer", response_deserializer=StreamResponse.FromString
        )()
        await _send(call, b"\xff\xff\xff", request(3).SerializeToString())  # type: ignore[arg-type]
        broken, answer = await _all(call)
        assert broken.error_message == "the request names no model, or is no message of this method"
        assert _first(answer.infer_response) == 3
        unary: Any = channel.unary_unary(f"{SERVICE}ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError, match="the message cannot be parsed") as caught:
            await unary(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert metric(app, "nasfeat_requests_total", method="ModelStreamInfer", code="OK") == 1


async def test_a_request_that_cannot_be_in_time_is_given_up() -> None:
    """`timeout` is in microseconds; 0 is none."""
    async with running(weights="sleep:0.05") as app, connected(app) as stub:
        assert _first(await stub.infer(request(1, timeout=0))) == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.infer(request(2, timeout=1))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        call = stub.stream()
        await _send(call, request(3, timeout=1), request(4, timeout=10**9))
        late, answer = await _all(call)
        assert "deadline" in late.error_message
        assert (late.infer_response.id, _first(answer.infer_response)) == ("3", 4)
        assert metric(app, "nasfeat_frames_total", outcome="expired", reason="DeadlinePassed") == 2


async def test_a_server_that_stops_answers_what_it_has_and_ends_streams() -> None:
    """Then the stream is UNAVAILABLE, and so are new calls."""
    async with running(weights="sleep:0.05") as app, connected(app) as stub:
        call = stub.stream()
        for number in range(3):
            await call.write(request(number))
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 3)
        assert app._front
        app._front.drain()
        answers = [await call.read() for _ in range(3)]
        assert [answer.infer_response.id for answer in answers] == ["0", "1", "2"]
        code, details = await _code(call)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "stopping" in details
        for again in (stub.infer(request(9)), stub.stream()):
            assert (await _code(again))[0] is grpc.StatusCode.UNAVAILABLE


async def test_all_protocols_share_the_limit_of_streams() -> None:
    """With room for one stream, which is ours, another one of this protocol is RESOURCE_EXHAUSTED."""
    async with (
        running(limits=RequestLimits(max_streams=1)) as app,
        connected(app) as stub,
        connected_to_ours(app) as ours,
    ):
        first: Any = ours.StreamFeatures()
        await first.write(opening())
        await first.read()
        assert await _code(stub.stream()) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "1 streams are open, which is the limit; try again later",
        )


async def test_tenants_have_their_quotas(tmp_path: Path) -> None:
    """Nobody is let in without a token; frames and streams are the tenant's, and so is the limit of streams."""
    path = write_tokens(tmp_path / "tokens.toml", {"a": (("one of a",), {"max_streams": 1})})
    async with running(security=SecurityConfig(tokens=path)) as app, connected(app) as stub:
        assert (await _code(stub.infer(request(1))))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await _code(stub.ask("ServerReady")))[0] is grpc.StatusCode.UNAUTHENTICATED
        call = stub.stream(bearing("one of a"))
        await call.write(request(2, 3, priority=1))
        assert _first((await call.read()).infer_response) == 2
        assert app.models
        [shown] = [stream.live() for model in app.models.state().models for stream in model.served.calls.streams]
        assert (shown.tenant, shown.priority, shown.overload, shown.received) == ("a", "high", "block", 2)
        code, details = await _code(stub.stream(bearing("one of a")))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "tenant a has 1 streams open" in details
        await stub.infer(request(4), bearing("one of a"))
        assert metric(app, "nasfeat_tenant_frames_total", tenant="a") == 3
        assert metric(app, "nasfeat_requests_total", method="ModelInfer", code="UNAUTHENTICATED") == 1
        call.cancel()


async def test_versions_are_found_by_name_and_label() -> None:
    """Each has its own weights and counts; a stream stays with the one that it began with until that gives way."""
    async with running(model_alias="inception") as app, connected(app) as stub:
        assert app.models
        call = stub.stream()
        await call.write(request(1))
        assert (await call.read()).infer_response.model_version == "1"
        await app.models.load(weights="random:1", version="next", share=1.0)
        found = {}
        for version in ("", "1", "next", "stable", "canary"):
            response = await stub.infer(request(1, version=version, model="inception"))
            values = np.frombuffer(response.raw_output_contents[0], np.float32)
            found[version] = (response.model_name, response.model_version, round(float(values[5])))
        one, other = ("inception", "1", 0), ("inception", "next", 1)
        assert found == {"": other, "1": one, "next": other, "stable": one, "canary": other}
        metadata = await stub.ask("ModelMetadata", inference_pb2.ModelMetadataRequest(name=NAME))
        assert list(metadata.versions) == ["1", "next"]
        index = await stub.ask("RepositoryIndex")
        assert [(model.version, model.state, model.reason) for model in index.models] == [
            ("1", "READY", ""),
            ("next", "READY", "as canary"),
        ]
        statistics = await stub.ask("ModelStatistics")
        assert {model.version: model.inference_count for model in statistics.model_stats} == {"1": 3, "next": 3}
        await call.write(request(2))
        assert (await call.read()).infer_response.model_version == "1"
        await app.models.promote(move_streams=True, keep_previous=False)
        code, details = await _code(call)
        assert (code, "gives way to 'next'" in details) == (grpc.StatusCode.UNAVAILABLE, True)
