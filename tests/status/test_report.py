"""What /status.json says of a server that runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from credentials import bearing, write_tokens
from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc, image_pb2
from nasfeat_server.app import App
from nasfeat_server.config import SecurityConfig
from nasfeat_server.status.figures import BAR_BOUNDS_S
from nasfeat_server.telemetry.events import Refused, ReplicaDied, ReplicaReady, Stage
from serving import FAKE, connected, frame, next_result, opening, running, until
from web import report

_HOSTILE = "<img src=x onerror=alert(1)>\u202e\x01"
_OPTIONS = opening(
    stream_id=_HOSTILE,
    priority=feature_service_pb2.PRIORITY_LOW,
    overload_policy=feature_service_pb2.OVERLOAD_POLICY_REJECT,
    window=5,
)


def _live(app: App) -> Any:
    [served] = app._catalog.served
    [stream] = served.calls.streams
    return stream.live()


@pytest.fixture
async def used() -> AsyncIterator[tuple[App, Any]]:
    """A server with a stream that is open, one of whose four frames was no picture; and the first report on it."""
    async with running() as app, connected(app) as stub:
        call: Any = stub.StreamFeatures()
        await call.write(_OPTIONS)
        for request in (frame(1), frame(2), frame(3, image_pb2.Image(encoded=b"no picture")), frame(4)):
            await call.write(request)
            await next_result(call)
        # The client may have its answer before the server has counted it.
        await until(lambda: sum(_live(app).outcomes.values()) == 4)
        yield app, await report(app.metrics)
        await call.done_writing()


async def test_everything_is_told_of_a_server_in_use(used: tuple[App, Any]) -> None:
    """Its state, its model, its queue, its devices, and what came of the images."""
    _, told = used
    assert (told["server"]["state"], told["server"]["tenant"]) == ("ready", None)
    [model] = told["models"]
    assert (model["label"], model["share"], model["is_trained"], model["calls"]) == ("stable", 1.0, False, 1)
    assert told["queue"] == {"depth": 0, "waiting": 0, "slots_in_use": 0, "slots": 64}
    outcomes = {outcome: count for outcome, count in told["frames"]["outcomes"].items() if count}
    assert (outcomes, told["frames"]["in_flight"]) == ({"ok": 3, "invalid": 1}, 0)
    [device] = told["devices"]
    assert (device["device"], device["is_up"], device["restarts"], device["batch_limit"]) == ("cpu:0", True, 0, 4)
    assert device["batch_sizes"] == [[1.0, 3]]
    assert device["memory_bytes"] > 2**20
    # Nobody has looked before: what there is, is since the start.
    assert sum(told["rates"][0]["per_second"].values()) * told["rates"][0]["seconds"] == pytest.approx(4)


async def test_stages_have_their_quantiles_and_bars(used: tuple[App, Any]) -> None:
    """Of all images that went through them, over the time that it says."""
    _, told = used
    assert list(told["latency"]["stages"]) == [stage.value for stage in Stage]
    for stage in told["latency"]["stages"].values():
        assert sum(stage["bars"]) == stage["count"] in (3, 4)
        assert 0 < stage["p50_s"] <= stage["p90_s"] <= stage["p99_s"] < 60
        assert len(stage["bars"]) == len(told["latency"]["bounds_s"]) + 1 == len(BAR_BOUNDS_S) + 1
    assert told["latency"]["window_s"] == pytest.approx(told["server"]["uptime_s"])


async def test_streams_and_refusals_are_told_as_they_are_called(used: tuple[App, Any]) -> None:
    """Names that clients choose come through whole: what shows them treats them as text."""
    _, told = used
    [stream] = told["streams"]["shown"]
    assert (told["streams"]["total"], stream["stream_id"], stream["version"]) == (1, _HOSTILE, "1")
    assert (stream["overload"], stream["priority"], stream["window"]) == ("reject", "low", 5)
    assert (stream["received"], stream["outcomes"]) == (4, {"ok": 3, "invalid": 1})
    [refusal] = told["refusals"]
    assert (refusal["reason"], refusal["count"], refusal["stream_id"], refusal["frame_id"]) == (
        *("InvalidImage", 1),
        *(_HOSTILE, 3),
    )
    assert "not an image" in refusal["message"]


async def test_many_streams_are_counted_and_the_busiest_shown() -> None:
    """A hundred of a hundred and three: those with frames in flight, and then the newest."""
    async with running() as app, connected(app) as stub:
        calls: list[Any] = [stub.StreamFeatures() for _ in range(103)]
        for number, call in enumerate(calls):
            await call.write(opening(stream_id=f"cam {number}"))
            await call.read()
        told = (await report(app.metrics))["streams"]
        assert (told["total"], told["own"], len(told["shown"])) == (103, 103, 100)
        assert [stream["stream_id"] for stream in told["shown"]] == [f"cam {number}" for number in range(3, 103)]
        await asyncio.gather(*(call.done_writing() for call in calls))


async def test_a_device_in_trouble_is_told() -> None:
    """Deaths, and how near another precision comes to fp32."""
    async with running() as app:
        app._observer.observe(ReplicaDied(device="cpu:0", cause="killed"))
        app._observer.observe(ReplicaReady(device="cpu:0", start_s=1.0, mean_cosine=0.99, min_cosine=0.9))
        [device] = (await report(app.metrics))["devices"]
        assert (device["restarts"], device["mean_cosine"]) == (1, 0.99)


async def test_a_version_that_retires_is_told_with_its_streams() -> None:
    """They keep to it, perhaps for hours: it is there until the last of them ends."""
    async with running() as app, connected(app) as stub:
        assert app.models
        call: Any = stub.StreamFeatures()
        await call.write(opening(stream_id="old"))
        await call.read()
        await app.models.load(weights="random:1", version="2", share=0.0)
        await app.models.promote(move_streams=False, keep_previous=False)
        told = await report(app.metrics)
        models = [(one["label"], one["version"], one["calls"]) for one in told["models"]]
        assert models == [("stable", "2", 0), ("retiring", "1", 1)]
        assert [(one["stream_id"], one["version"]) for one in told["streams"]["shown"]] == [("old", "1")]
        await call.done_writing()


async def test_before_the_model_is_loaded_the_page_is_there() -> None:
    """It says that the server starts; afterwards, that it stops."""
    app = App(FAKE)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running_app = tasks.create_task(app.run(stop))
        await until(lambda: app.metrics is not None)
        told = await report(app.metrics)
        assert (told["server"]["state"], told["models"], told["streams"]["total"]) == ("starting", [], 0)
        stop.set()
        await running_app


async def test_a_tenant_sees_its_own_streams_and_refusals(tmp_path: Path) -> None:
    """Others' are counted and no more: their names are no business of its."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"one": (("nasfeat_one",), {}), "other": (("nasfeat_other",), {})})
    async with (
        running(security=SecurityConfig(tokens=tokens)) as app,
        grpc.aio.insecure_channel(str(app.listening)) as channel,
    ):
        call: Any = feature_service_pb2_grpc.FeatureServiceStub(channel).StreamFeatures(metadata=bearing("nasfeat_one"))
        await call.write(opening(stream_id="secret"))
        await call.read()
        app._observer.observe(Refused(method="StreamFeatures", reason="Overloaded", message="full", tenant="one"))
        own, others = await report(app.metrics, "nasfeat_one"), await report(app.metrics, "nasfeat_other")
        assert [stream["stream_id"] for stream in own["streams"]["shown"]] == ["secret"]
        assert [refusal["message"] for refusal in own["refusals"]] == ["full"]
        assert others["streams"] == {"total": 1, "own": 0, "shown": []}
        assert others["refusals"] == []
        await call.done_writing()
