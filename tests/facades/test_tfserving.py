"""TensorFlow Serving's services over a real server: what holds for our own calls holds for theirs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from credentials import bearing, write_tokens
from nasfeat.tfserving.v1 import serving_pb2
from nasfeat_server.app import App
from nasfeat_server.config import RequestLimits, SecurityConfig
from nasfeat_server.facades.tfserving_models import number_of
from serving import metric, running, until
from tfserving import NAME, ask, features, pictures, request_of

_PREDICT = "tensorflow.serving.PredictionService/Predict"
_State = serving_pb2.VersionState
_CODE = grpc.StatusCode


def _channel(app: App) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(str(app.listening), [("grpc.max_send_message_length", -1)])


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a server that knows its model by another name, too."""
    async with running(model_alias="nasnet", model_version="3") as app:
        yield app


async def test_calls_and_images_are_counted_as_ours_are(app: App) -> None:
    """A call is one of its method under both kinds of metrics, and its images are images."""
    async with _channel(app) as channel:
        await ask(channel, request_of(pictures(3)))
        spoilt = np.full((2, 32, 32, 3), 0.5, np.float32)
        spoilt[1, 0, 0, 0] = np.nan
        with pytest.raises(grpc.aio.AioRpcError, match="image 1 of 2: 1 of 3072 RGB_FLOAT32 values are NaN") as caught:
            await ask(channel, request_of(spoilt))
        assert caught.value.code() is _CODE.INVALID_ARGUMENT
    assert metric(app, "nasfeat_frames_total", outcome="ok", reason="") == 4
    assert metric(app, "nasfeat_frames_total", outcome="invalid", reason="InvalidImage") == 1
    assert metric(app, "nasfeat_requests_total", method="Predict", code="OK") == 1
    assert metric(app, "nasfeat_requests_total", method="Predict", code="INVALID_ARGUMENT") == 1
    await until(lambda: metric(app, "grpc_server_call_started_total", grpc_method=_PREDICT) == 2)


async def test_large_calls_are_the_same_as_small_ones(app: App) -> None:
    """Pictures whose values are cut out give what each gives alone, and a damaged call is refused."""
    images = pictures(32)
    request = request_of(images).SerializeToString()
    async with _channel(app) as channel:
        together = features(await ask(channel, request))
        alone = [features(await ask(channel, request_of(image[np.newaxis])))[0] for image in images[:4]]
        np.testing.assert_array_equal(together[:4], alone)
        with pytest.raises(grpc.aio.AioRpcError, match="the message cannot be parsed") as caught:
            await ask(channel, request[:-1])
        assert caught.value.code() is _CODE.INVALID_ARGUMENT
        empty = b"\x12\x00" * 40_000
        with pytest.raises(grpc.aio.AioRpcError, match="over 32768 fields"):
            await ask(channel, empty)


async def test_all_outputs_can_be_asked_for(app: App) -> None:
    """By the names that our own API knows, also twice under two names; too much for a message is refused."""
    async with _channel(app) as channel:
        request = request_of(pictures(2), signature_name="image_classification")
        request.output_filter[:] = ["default", "Logits", "Cell_0/mean"]
        response = await ask(channel, request)
        np.testing.assert_array_equal(features(response), features(response, "Logits"))
        assert sorted(response.outputs) == ["Cell_0/mean", "Logits", "default"]
        assert features(response).shape == (2, 10)
        request.output_filter.append("Logits")
        with pytest.raises(grpc.aio.AioRpcError, match="output Logits is asked for twice"):
            await ask(channel, request)


async def test_health_is_told_of_each_service(app: App) -> None:
    """A check by the name of a service of TensorFlow Serving's is answered as one of ours."""
    async with _channel(app) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("PredictionService", "ModelService"):
            response = await stub.Check(health_pb2.HealthCheckRequest(service=f"tensorflow.serving.{name}"))
            assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_model_goes_by_both_names(app: App) -> None:
    """By its own, the operator's and none; the answer has the one that was asked for, and always the version."""
    async with _channel(app) as channel:
        for name in (NAME, "nasnet", ""):
            spec = (await ask(channel, request_of(pictures(1), name=name))).model_spec
            assert (spec.name, spec.version.value) == (name or NAME, 3)
        for label in ("stable", "3"):
            request = request_of(pictures(1), name="nasnet", version_label=label)
            assert (await ask(channel, request)).model_spec.version.value == 3
        status = await ask(channel, serving_pb2.GetModelStatusRequest(model_spec=request.model_spec))
        assert [(one.version, one.state) for one in status.model_version_status] == [
            (3, _State.VERSION_STATE_AVAILABLE)
        ]
        request.model_spec.name = "inception"
        with pytest.raises(grpc.aio.AioRpcError, match=f"no model 'inception' here, only {NAME}, nasnet") as caught:
            await ask(channel, request)
        assert caught.value.code() is _CODE.NOT_FOUND


async def test_versions_follow_each_other() -> None:
    """A canary has a label, a number and its share; once it is stable, the old one unloads, and is gone."""
    async with running(model_version="7") as app, _channel(app) as channel:
        assert app.models
        await app.models.load(weights="random:5", version="spring", share=0.5)
        spring = number_of("spring")
        seen = {(await ask(channel, request_of(pictures(1)))).model_spec.version.value for _ in range(4)}
        assert seen == {7, spring}
        for spec in ({"version_label": "canary"}, {"version_label": "spring"}, {"version": {"value": spring}}):
            assert (await ask(channel, request_of(pictures(1), **spec))).model_spec.version.value == spring
        states = serving_pb2.GetModelStatusRequest()
        assert await _states(channel, states) == {7: "AVAILABLE", spring: "AVAILABLE"}
        old = app.models._stable
        assert old
        with old.served.calls.under_way():
            await app.models.promote(move_streams=False, keep_previous=False)
            assert await _states(channel, states) == {7: "UNLOADING", spring: "AVAILABLE"}
        await until(lambda: app.models is not None and len(app.models.state().models) == 1)
        assert await _states(channel, states) == {spring: "AVAILABLE"}
        states.model_spec.version.value = 7
        with pytest.raises(grpc.aio.AioRpcError, match=f"there is no version 7, only {spring}") as caught:
            await ask(channel, states)
        assert caught.value.code() is _CODE.NOT_FOUND


async def _states(channel: grpc.aio.Channel, request: serving_pb2.GetModelStatusRequest) -> Mapping[int, str]:
    response = await ask(channel, request)
    return {one.version: _State.Name(one.state).removeprefix("VERSION_STATE_") for one in response.model_version_status}


async def test_a_deadline_is_that_of_the_call() -> None:
    """A call whose time is up while a device is busy ends, and its image counts as expired."""
    async with running(weights="sleep:1") as app, _channel(app) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel, request_of(pictures(1)), timeout=0.1)
        assert caught.value.code() is _CODE.DEADLINE_EXCEEDED
        await until(lambda: _expired(app) == 1)


def _expired(app: App) -> float:
    return sum(metric(app, "nasfeat_frames_total", outcome="expired", reason=why) for why in ("", "DeadlinePassed"))


async def test_a_full_server_refuses() -> None:
    """Where no image may wait for a slot, the call that finds none is told to come again, and when."""
    limits = RequestLimits(max_waiting_images=0)
    async with running(weights="sleep:1", slots=4, limits=limits, grace_s=0) as app, _channel(app) as channel:
        first = asyncio.ensure_future(ask(channel, request_of(pictures(4))))
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 4)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel, request_of(pictures(1)))
        assert caught.value.code() is _CODE.RESOURCE_EXHAUSTED
        first.cancel()
        await until(lambda: metric(app, "nasfeat_frames_total", outcome="cancelled", reason="") == 4)


async def test_tokens_and_quotas_hold(tmp_path: Path) -> None:
    """No token, no answer, and that is counted; a tenant over its rate is refused."""
    tenants: Any = {"a": (("of a",), {"frames_per_second": 1.0, "burst": 2})}
    security = SecurityConfig(tokens=write_tokens(tmp_path / "tokens.toml", tenants))
    async with running(security=security) as app, _channel(app) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel, request_of(pictures(1)))
        assert caught.value.code() is _CODE.UNAUTHENTICATED
        assert metric(app, "nasfeat_requests_total", method="Predict", code="UNAUTHENTICATED") == 1
        await ask(channel, request_of(pictures(2)), metadata=bearing("of a"))
        with pytest.raises(grpc.aio.AioRpcError, match="above its 1 frames a second") as caught:
            await ask(channel, request_of(pictures(2, seed=1)), metadata=bearing("of a"))
        assert caught.value.code() is _CODE.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(("version", "number"), [("1", 1), ("0", 0), (str(2**63 - 1), 2**63 - 1)])
def test_a_version_that_is_a_number_is_that(version: str, number: int) -> None:
    """What TensorFlow Serving would call the version, too."""
    assert number_of(version) == number


@pytest.mark.parametrize("version", ["01", "-1", "v1", "", "imagenet-1", str(2**63), "\u0663"])
def test_any_other_name_has_a_number_of_its_own(version: str) -> None:
    """It is none that an operator would choose, and JSON can hold it."""
    assert 2**32 < number_of(version) < 2**53
    assert number_of(version) == number_of(version)
