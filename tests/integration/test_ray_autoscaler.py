"""Replicas that follow the load on a real Ray cluster, whose own autoscaler brings and takes nodes for them."""

import asyncio
import itertools

import pytest

from programs import ANYWHERE, RunningServer, server
from ray_autoscaler import autoscaled_nodes
from ray_served import reach, stream, total

_STREAMS = 4


async def _load(server: RunningServer, until: asyncio.Event) -> None:
    """Stream until told otherwise."""
    for seed in itertools.count():
        if until.is_set():
            return
        await asyncio.gather(*(stream(server, 20, seed * _STREAMS + number) for number in range(_STREAMS)))


@pytest.mark.slow
async def test_nodes_come_and_go_with_the_load() -> None:
    """From a head alone: a node for the replica that is kept, another under load, which is gone after it.

    No frame is lost, no replica dies, and nobody but Ray adds or removes a node.
    """
    async with autoscaled_nodes(2) as nodes:
        assert nodes.count == 0
        cluster = ("--executor", "ray", "--ray-address", nodes.address, "--replica-gpus", "0", "--replicas", "2")
        scaling = ("--keep-replicas", "1", "--scale-up-after", "1", "--scale-down-after", "2")
        model = ("--engine", "fake", "--variant", "cifar", "--weights", "sleep:0.05")
        async with server(*cluster, *scaling, *model, *ANYWHERE) as served:
            assert (nodes.count, len(nodes.actors())) == (1, 1)
            await stream(served, 8, seed=0)
            enough = asyncio.Event()
            loading = asyncio.create_task(_load(served, enough))
            await reach(served, "nasfeat_replica_up", 2)
            assert (nodes.count, len(nodes.actors())) == (2, 2)
            await reach(served, "nasfeat_batch_size_sum", 40, 'device="ray:1"')
            enough.set()
            await loading
            while nodes.count > 1:  # noqa: ASYNC110 - other processes set no event here
                await asyncio.sleep(0.1)
            assert len(nodes.actors()) == await total(served, "nasfeat_replica_wanted") == 1
            await stream(served, 8, seed=1)
            assert await total(served, "nasfeat_replica_restarts_total") == 0
            assert await total(served, "nasfeat_frames_total", 'outcome="error"') == 0
