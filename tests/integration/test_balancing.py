"""Real servers of one model behind one client: who gets what, and what becomes of streams whose server is gone."""

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from nasfeat_client import AsyncFeatureClient, ClientConfig, Frame, ResumeConfig
from nasfeat_server.app import App
from nasfeat_server.engine.fake import fingerprint
from programs import FAKE, start_server
from serving import metric, pixels, running, until

_LENGTH = 768
# A frame takes so long: capacities as 1 : 2 : 4.
_SPEEDS = ("sleep:0+0.04", "sleep:0+0.02", "sleep:0+0.01")
_QUICK = ClientConfig(resume=ResumeConfig(longest_pause_s=0.2))


def _picture(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)


@contextlib.asynccontextmanager
async def _serving(*weights: str) -> AsyncIterator[list[App]]:
    async with contextlib.AsyncExitStack() as stack:
        entering = (stack.enter_async_context(running(weights=one, max_batch_size=1)) for one in weights)
        yield [await one for one in entering]


def _frames(app: App) -> float:
    return metric(app, "nasfeat_model_frames_total", label="stable", outcome="ok")


def _streams(app: App) -> float:
    return metric(app, "nasfeat_streams", overload="block")


@pytest.mark.slow
async def test_calls_and_then_streams_are_shared_out_by_speed() -> None:
    """Of three servers that differ fourfold, the SDK's reports of load tell: frames and streams follow the speed."""
    picture = _picture(0)
    async with _serving(*_SPEEDS) as apps, AsyncFeatureClient([str(app.listening) for app in apps]) as client:

        async def ask() -> None:
            while min(endpoint.load.capacity or 0.0 for endpoint in client._pool._servers.endpoints) < 1:
                await client.extract(picture)

        await asyncio.gather(*(ask() for _ in range(12)))
        slow, middle, fast = (_frames(app) for app in apps)
        assert slow < middle < fast
        # Reports are of the same moments: what the servers are capable of is told from them, whatever else they do.
        streams = [client.open_stream() for _ in range(14)]
        for stream in streams:
            await stream.__aenter__()
        placed = [_streams(app) for app in apps]
        assert sum(placed) == 14
        assert placed[0] < placed[2]
        assert placed[0] <= placed[1] <= placed[2]
        for stream in streams:
            await stream.aclose()


async def test_a_server_that_does_not_serve_gets_no_stream_and_keeps_its_own() -> None:
    """Its replicas are all lost: health says so, streams go to the other; those that it has wait for it."""
    async with (
        _serving("random:0", "random:0") as apps,
        AsyncFeatureClient([str(app.listening) for app in apps]) as client,
    ):
        streams = [client.open_stream() for _ in range(2)]
        for stream in streams:
            await stream.__aenter__()
        ailing = apps[0]
        assert [_streams(app) for app in apps] == [1, 1]
        models: Any = ailing.models
        models.is_warm = lambda _: False
        models._common.on_change()
        there = next(one for one in client._pool._servers.endpoints if one.target == str(ailing.listening))
        await until(lambda: there.is_down)
        more = [client.open_stream() for _ in range(3)]
        for stream in more:
            await stream.__aenter__()
        assert [_streams(app) for app in apps] == [1, 4]
        for number, stream in enumerate((*streams, *more)):
            await stream.send(_picture(number))
            assert (await anext(stream)).ok
            await stream.aclose()


@pytest.mark.slow
async def test_a_killed_servers_streams_go_on_elsewhere() -> None:
    """Kill -9 of one of three processes under six streams: every frame is answered once, in order, with its vector."""
    servers = await asyncio.gather(*(start_server(*FAKE) for _ in range(3)))
    count, kill_at = 300, 100
    killed = asyncio.Event()
    async with AsyncFeatureClient([server.listening for server in servers], config=_QUICK) as client:

        async def camera(number: int) -> AsyncIterator[Frame]:
            for frame in range(count):
                if frame == kill_at + 50:
                    # Nobody is done before it happens.
                    await killed.wait()
                yield Frame(_picture(1000 * number + frame))

        reached: Counter[int] = Counter()

        async def follow(number: int) -> tuple[list[int], int]:
            stream = client.stream(camera(number))
            ids = []
            async for result in stream:
                ids.append(result.frame_id)
                reached[number] = len(ids)
                expected = fingerprint(_picture(1000 * number + result.frame_id)[np.newaxis], _LENGTH)[0]
                np.testing.assert_array_equal(result.vector, expected)
            return ids, stream.resumptions

        following = [asyncio.create_task(follow(number)) for number in range(6)]
        await until(lambda: len(reached) == 6 and min(reached.values()) >= kill_at)
        servers[0].process.kill()
        await servers[0].process.wait()
        killed.set()
        outcomes = await asyncio.gather(*following)
    assert [ids for ids, _ in outcomes] == [list(range(count))] * 6
    # Two of the six were there, and those alone moved.
    assert sorted(resumptions for _, resumptions in outcomes) == [0, 0, 0, 0, 1, 1]
    for server in servers[1:]:
        server.process.terminate()
        assert await server.process.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("out_of_band", [True, False])
async def test_grpcs_own_policy_understands_the_reports(*, out_of_band: bool) -> None:
    """A client without the SDK: weighted_round_robin gives the fast server more than round robin would, both ways."""
    policy = {"enableOobLoadReport": out_of_band, "oobReportingPeriod": "0.5s", "blackoutPeriod": "0s"}
    settings = {
        "loadBalancingConfig": [{"weighted_round_robin": policy | {"weightUpdatePeriod": "0.1s"}}],
        "healthCheckConfig": {"serviceName": "nasfeat.v1.FeatureService"},
    }
    request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(1)])
    async with _serving(*_SPEEDS) as apps:
        target = "ipv4:" + ",".join(str(app.listening) for app in apps)
        async with grpc.aio.insecure_channel(target, [("grpc.service_config", json.dumps(settings))]) as channel:
            stub = feature_service_pb2_grpc.FeatureServiceStub(channel)

            async def ask(turns: "itertools.count[int]") -> None:
                while next(turns) < 400:
                    await stub.ExtractFeatures(request)

            turns = itertools.count()
            await asyncio.gather(*(ask(turns) for _ in range(12)))
        slow, middle, fast = (_frames(app) for app in apps)
        assert slow + middle + fast >= 400
        # Round robin gives each a third.
        assert slow < 110
        assert fast > 165
