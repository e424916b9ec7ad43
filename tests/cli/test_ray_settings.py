"""Settings of replicas on a Ray cluster; no cluster is asked for them."""

import contextlib
import importlib.util
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nasfeat_server.app.replicas import Site, sized
from nasfeat_server.cli.main import main
from nasfeat_server.cli.serve import serve
from nasfeat_server.config import RayConfig, ServerConfig
from nasfeat_server.errors import ConfigurationError

_FAKE = ("--engine", "fake", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")


def _config(*arguments: str) -> Any:
    with serve.make_context("serve", [*_FAKE, "--executor", "ray", *arguments]) as context:
        return context.obj


def _check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check-config", *_FAKE, "--executor", "ray", *arguments])


def test_replicas_are_named_by_numbers_and_nodes_are_not() -> None:
    """So many names for metrics, whatever nodes come and go; batches and slots are those of GPUs."""
    config = _config("--replicas", "3")
    assert config.devices == ("ray:0", "ray:1", "ray:2")
    assert [placement.device for placement in Site(config=config).placements()] == ["ray:0", "ray:1", "ray:2"]
    assert (config.max_batch_size, config.slots) == (32, 4 * 32 * 3)
    assert config.computed_on == ("gpu:0",)


def test_replicas_on_cpus_take_the_batches_of_cpus() -> None:
    """What a replica asks for decides what it is."""
    config = _config("--replica-gpus", "0", "--replica-cpus", "8", "--replicas", "1")
    assert (config.max_batch_size, config.computed_on) == (4, ("cpu:0",))


def test_without_a_number_the_cluster_is_asked_at_the_start() -> None:
    """Slots then come by the replica, unless the operator has said how many."""
    config = _config("--replica-gpus", "0")
    assert (config.devices, config.ray.slots_per_replica) == ((), 16)
    assert _config("--slots", "64").ray.slots_per_replica == 0


@pytest.mark.parametrize(("found", "slots"), [(2, 64), (9, 144)])
async def test_the_cluster_s_room_decides(monkeypatch: pytest.MonkeyPatch, found: int, slots: int) -> None:
    """As many replicas as fit, and slots for all of them."""
    _stand_in(monkeypatch, found)
    config = await sized(_config("--replica-gpus", "0"))
    assert (len(config.devices), config.slots) == (found, slots)


async def test_a_cluster_without_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was asked for, and what to do."""
    _stand_in(monkeypatch, 0)
    with pytest.raises(ConfigurationError, match="no node with 1 GPU and 2 CPU for a replica: say with --replicas"):
        await sized(_config("--replica-cpus", "2"))


def _stand_in(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    class _Cluster:
        @contextlib.asynccontextmanager
        async def connected(self) -> AsyncIterator["_Cluster"]:
            yield self

        async def room(self) -> int:
            return room

    monkeypatch.setattr("nasfeat_server.app.replicas._cluster_of", lambda _: _Cluster())


def test_the_load_decides_between_the_replicas_that_are_kept_and_all() -> None:
    """Where a number is kept; otherwise all are wanted always, as on this machine."""
    policies = [
        Site(config=_config("--replicas", "4", *kept)).scaling
        for kept in ((), ("--keep-replicas", "2"), ("--keep-replicas", "9"))
    ]
    assert [(policy.least, policy.most) for policy in policies] == [(4, 4), (2, 4), (4, 4)]
    local = Site(config=ServerConfig(ray=RayConfig(keep_replicas=1), devices=("gpu:0", "gpu:1"))).scaling
    assert (local.least, local.most) == (2, 2)


async def test_local_replicas_ask_no_cluster() -> None:
    """Nor is anything of Ray imported for them."""
    config = ServerConfig()
    assert await sized(config) is config


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--replica-gpus", "1.5"), "--replica-gpus: a replica's GPUs must be a whole number, or a part of one GPU"),
        (("--replica-gpus", "0", "--replica-cpus", "0"), "--replica-cpus: a replica must ask for a GPU or a CPU core"),
        (("--ray-address", "ray://head:10001"), "--ray-address: a server must run on a node"),
        (("--replicas", "0"), "--replicas: 0 is not in the range"),
        (("--keep-replicas", "2", "--min-replicas", "3"), "--min-replicas: a server that keeps 2 replicas begins with"),
        (("--scale-up-after", "0.5"), "--scale-up-after: 0.5 is not in the range"),
        (("--engine", "openvino"), "--engine: the openvino engine runs on cpu, not on gpu"),
    ],
)
def test_what_no_cluster_can_give_is_refused(arguments: tuple[str, ...], complaint: str) -> None:
    """By the name of the setting, together with whatever else is wrong."""
    result = _check(*arguments, "--grace", "-1")
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert "--grace" in result.stderr


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"min_replicas": -1}, "0 or more"),
        ({"keep_replicas": 0}, "1 or more"),
        ({"scale_up_after_s": 0.0}, "after 1 second or more, not after 0"),
        ({"scale_down_after_s": 0.0}, "more than 0 seconds"),
    ],
)
def test_less_than_no_replica_and_no_time_are_refused(wrong: dict[str, Any], complaint: str) -> None:
    """Whoever makes the configuration."""
    with pytest.raises(ConfigurationError, match=complaint):
        RayConfig(**wrong)


def test_without_ray_the_executor_is_refused_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator is told what to install; a server with replicas of its own needs none of it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    result = _check()
    assert result.exit_code == 2
    assert "--executor: replicas on a Ray cluster need Ray: pip install 'nasfeat[ray]'" in result.stderr
    assert _check("--executor", "local").exit_code == 0
