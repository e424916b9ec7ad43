"""Envoy takes the configuration, spreads calls over servers, and leaves out one that is gone."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from envoy_proxy import CONFIGURATION, PROGRAM, Proxy, proxying
from nasfeat_client import AsyncFeatureClient, ClientConfig, ResumeConfig
from programs import FAKE, RunningServer, server

# The servers tell who they are by their versions, which a real fleet would share.
CONFIG = ClientConfig(resume=ResumeConfig(other_versions=True, first_pause_s=0.01, longest_pause_s=0.1))


def picture(number: int) -> npt.NDArray[np.uint8]:
    """Make a picture that is like no other of this test."""
    return np.full((32, 32, 3), number, np.uint8)


@contextlib.asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[tuple[Proxy, dict[str, RunningServer]]]:
    """Run two servers, by their versions, and Envoy before them."""
    async with (
        server(*FAKE, "--model-version", "a") as one,
        server(*FAKE, "--model-version", "b") as other,
        proxying([one.listening, other.listening], folder) as proxy,
    ):
        await proxy.until_well(one.listening, other.listening)
        yield proxy, {"a": one, "b": other}


async def versions(client: AsyncFeatureClient, calls: int) -> set[str]:
    """Extract so many pictures at once, one in each call; tell who answered."""
    results = await asyncio.gather(*(client.extract(picture(number)) for number in range(calls)))
    return {result.identity.version for result in results}


def test_envoy_takes_the_configuration() -> None:
    """As it is committed, every field is known and has a value that is allowed."""
    done = subprocess.run(
        [PROGRAM, "--mode", "validate", "-c", CONFIGURATION], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


@pytest.mark.slow
async def test_calls_go_to_both_and_on_when_one_is_killed(tmp_path: Path) -> None:
    """The killed server is found out by its health and left out; every call is answered, by the other one.

    An image passes that is larger than all that Envoy holds of a stream.
    """
    async with (
        fleet(tmp_path) as (proxy, servers),
        AsyncFeatureClient(await proxy.listening(), config=CONFIG) as client,
    ):
        assert len((await client.extract(np.zeros((1500, 1500, 3), np.uint8))).vector) == 768
        assert await versions(client, 40) == {"a", "b"}
        servers["a"].process.kill()
        assert await versions(client, 40) <= {"a", "b"}
        await proxy.until_well(servers["b"].listening)
        assert await versions(client, 40) == {"b"}
        ails = (await proxy.servers())[servers["a"].listening]
        assert ails.get("failed_active_health_check")


@pytest.mark.slow
async def test_a_stream_outlives_its_server_behind_envoy(tmp_path: Path) -> None:
    """It stays with one server; when that is killed it goes on with the other, each frame answered once, in order."""
    async with (
        fleet(tmp_path) as (proxy, servers),
        AsyncFeatureClient(await proxy.listening(), config=CONFIG) as client,
    ):
        made_by = []
        async with client.open_stream() as stream:
            for number in range(60):
                await stream.send(picture(number))
                result = await anext(stream)
                assert result.frame_id == number
                made_by.append(result.identity.version)
                if number == 29:
                    servers[result.identity.version].process.kill()
            await stream.end()
        first, last = made_by[0], made_by[-1]
        assert {first, last} == {"a", "b"}
        assert made_by == [first] * 30 + [last] * 30


@pytest.mark.slow
async def test_a_server_that_begins_to_stop_gets_nothing_new(tmp_path: Path) -> None:
    """SIGTERM turns its health, and Envoy sends calls to the other one; none fails."""
    async with (
        fleet(tmp_path) as (proxy, servers),
        AsyncFeatureClient(await proxy.listening(), config=CONFIG) as client,
    ):
        servers["b"].process.terminate()
        assert await versions(client, 40) <= {"a", "b"}
        await proxy.until_well(servers["a"].listening)
        assert await versions(client, 40) == {"a"}
