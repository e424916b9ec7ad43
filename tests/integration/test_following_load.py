"""A whole server whose replicas follow the load, on actors of this process; a real cluster is in tests/failures."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import numpy as np
import pytest

from nasfeat_client import AsyncFeatureClient
from nasfeat_server.app.replicas import ray_devices
from nasfeat_server.config import RayConfig
from nasfeat_server.engine import ray_replica
from near_actors import NearActor
from serving import metric, running, until

_RAY = RayConfig(keep_replicas=1, scale_up_after_s=1.0, scale_down_after_s=0.5)


class _Cluster:
    """Has room for every actor, and remembers them."""

    def __init__(self) -> None:
        self.actors: list[NearActor] = []

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["_Cluster"]:
        """Be there."""
        yield self

    def hire(self) -> NearActor:
        """Give another one."""
        self.actors.append(NearActor())
        return self.actors[-1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> _Cluster:
    """The one that the server finds; what an actor sets for its process stays in the test."""
    cluster = _Cluster()
    monkeypatch.setattr("nasfeat_server.app.replicas._cluster_of", lambda _: cluster)
    monkeypatch.setattr(ray_replica, "_ENVIRONMENT", {"gpu": {}})
    return cluster


async def test_replicas_come_with_the_load_and_go_with_it(cluster: _Cluster) -> None:
    """More than one replica can do brings another; without it that one ends, and no image hears of either."""
    image, stop = np.zeros((32, 32, 3), np.uint8), asyncio.Event()
    async with (
        running(executor="ray", ray=_RAY, devices=ray_devices(2), weights="sleep:0.01") as app,
        AsyncFeatureClient(str(app.listening)) as client,
    ):

        def states(name: str) -> list[float]:
            return [metric(app, f"nasfeat_replica_{name}", device=device) for device in app.config.devices]

        async def load() -> None:
            images = itertools.takewhile(lambda _: not stop.is_set(), itertools.repeat(image))
            async for result in client.stream(images):
                result.raise_for_error()

        assert (states("up"), states("wanted")) == ([1, 0], [1, 0])
        loading = asyncio.create_task(load())
        await until(lambda: states("up") == [1, 1])
        assert states("wanted") == [1, 1]
        stop.set()
        await loading
        await until(lambda: states("up") == [1, 0])
        assert states("wanted") == [1, 0]
        assert [actor.cause.done() for actor in cluster.actors] == [False, True]
        assert metric(app, "nasfeat_replica_restarts_total", device="ray:1", cause="killed") == 0
