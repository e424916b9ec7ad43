"""Replicas on the nodes of a real Ray cluster: nodes and processes die under load, and no frame is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from programs import RunningServer, server
from ray_nodes import Nodes, ray_nodes
from ray_served import reach, samples, stream, total

_NODES = 3
_STREAMS = 4

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncIterator[Nodes]:
    """Three nodes that are nobody else's."""
    async with ray_nodes(_NODES) as nodes:
        yield nodes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(nodes: Nodes) -> AsyncIterator[RunningServer]:
    """A server with a replica on each, as many as it finds room for, and two front ends."""
    options = ("--executor", "ray", "--ray-address", nodes.address, "--replica-gpus", "0", "--min-replicas", "0")
    anywhere = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    model = ("--engine", "fake", "--variant", "cifar", "--weights", "sleep:0.03", "--front-ends", "2")
    async with server(*options, *model, *anywhere) as running:
        yield running


async def _streams(server: RunningServer, frames: int) -> None:
    await asyncio.gather(*(stream(server, frames, seed) for seed in range(_STREAMS)))


async def test_every_node_has_its_replica_and_its_share(served: RunningServer) -> None:
    """All three compute, and no one of them much more than the others: so three do three times as much as one."""
    await _streams(served, 100)
    images = await samples(served, "nasfeat_batch_size_sum")
    assert sum(images.values()) == 100 * _STREAMS
    assert len(images) == _NODES
    assert all(share / sum(images.values()) > 0.2 for share in images.values()), images


async def test_no_frame_is_lost_with_a_node_nor_with_another_raylet(nodes: Nodes, served: RunningServer) -> None:
    """One node is removed under four streams, another one's raylet killed by SIGKILL; new nodes get new replicas."""
    before = await total(served, "nasfeat_batch_size_sum")
    streaming = asyncio.gather(_streams(served, 250))
    await reach(served, "nasfeat_batch_size_sum", before + 100)
    await nodes.tell("remove")
    await reach(served, "nasfeat_replica_restarts_total", 1)
    await nodes.tell("kill")
    await reach(served, "nasfeat_replica_restarts_total", 2)
    assert await total(served, "nasfeat_replica_up") == 1
    await streaming
    for _ in range(2):
        await nodes.tell("add")
    await reach(served, "nasfeat_replica_up", _NODES)
    await _streams(served, 25)
    assert await total(served, "nasfeat_replica_restarts_total", 'cause="node_lost"') == 2
    assert await total(served, "nasfeat_frames_total", 'outcome="error"') == 0


async def test_a_killed_actor_is_replaced_and_not_noticed(nodes: Nodes, served: RunningServer) -> None:
    """Kill -9 of one of three under four streams: every frame is answered, and the next actor takes its place."""
    before = await total(served, "nasfeat_batch_size_sum")
    streaming = asyncio.gather(_streams(served, 50))
    await reach(served, "nasfeat_batch_size_sum", before + 40)
    nodes.actors()[0].kill()
    await streaming
    await reach(served, "nasfeat_replica_restarts_total", 1, 'cause="killed"')
    await reach(served, "nasfeat_replica_up", _NODES)


async def test_actors_end_with_a_killed_server(nodes: Nodes, served: RunningServer) -> None:
    """Kill -9 of the server, which can say nothing to anybody: its actors give back what they had."""
    assert len(nodes.actors()) == _NODES
    os.kill(served.process.pid, signal.SIGKILL)
    while nodes.actors():  # noqa: ASYNC110 - other processes set no event here
        await asyncio.sleep(0.1)
