"""Where replicas run: in processes of this machine, or on the nodes of a Ray cluster."""

import contextlib
import dataclasses
import importlib.util
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.arena import Arena
from nasfeat_server.engine.cores import usable_cores
from nasfeat_server.engine.devices import Placement, place
from nasfeat_server.engine.interface import EngineOptions, SupervisedExecutor
from nasfeat_server.engine.replica import Replica
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.scheduling.scaling import ScalingPolicy

if TYPE_CHECKING:
    from nasfeat_server.engine.ray_cluster import RayCluster

_log = logging.getLogger(__name__)

LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the replicas of every version of the model run.

    Attributes:
        config: the server's.
        cluster: the Ray cluster, if they run on one.
    """

    config: ServerConfig
    cluster: "RayCluster | None" = None

    def placements(self) -> tuple[Placement, ...]:
        """Give each replica its place; on a cluster, its name alone."""
        if self.config.executor == RAY:
            return tuple(Placement(device=device, cores=()) for device in self.config.devices)
        return place(self.config.devices, usable_cores())

    @property
    def enough(self) -> int:
        """Warm replicas with which serving begins; 0 for all."""
        return self.config.ray.min_replicas if self.cluster else 0

    @property
    def scaling(self) -> ScalingPolicy:
        """Between how many replicas the load decides: on this machine, between all and all."""
        ray, most = self.config.ray, len(self.config.devices)
        least = ray.keep_replicas if self.config.executor == RAY and ray.keep_replicas else most
        return ScalingPolicy(
            least=min(least, most), most=most, up_after_s=ray.scale_up_after_s, down_after_s=ray.scale_down_after_s
        )

    def maker(
        self, loading: EngineOptions, arena: Arena, *, may_wait: Callable[[], bool]
    ) -> Callable[[Placement], SupervisedExecutor]:
        """Give what makes a replica for its place, not started.

        Args:
            loading: what it loads.
            arena: where its images are.
            may_wait: whether it has all the time there is to find a place, when it is made.
        """
        config = self.config
        if self.cluster is None:
            return lambda placement: Replica(
                placement=placement,
                options=dataclasses.replace(loading, cores=placement.cores, threads=placement.threads),
                arena=arena,
                hang_s=config.hang_s,
                start_limit_s=config.start_limit_s,
            )
        from nasfeat_server.engine.ray_replica import Patience, RayReplica  # noqa: PLC0415 - for those who ask for it

        hire = self.cluster.hire
        return lambda placement: RayReplica(
            device=placement.device,
            kind=config.ray.kind,
            cores=0 if config.ray.replica_gpus else int(config.ray.replica_cpus),
            options=loading,
            arena=arena,
            hire=hire,
            patience=Patience(
                hang_s=config.hang_s,
                start_s=config.start_limit_s,
                place_s=None if may_wait() else config.start_limit_s,
            ),
        )


@contextlib.asynccontextmanager
async def site_of(config: ServerConfig) -> AsyncIterator[Site]:
    """Connect to where the replicas of `config` run, until the context ends.

    Raises:
        ConfigurationError: Ray is not installed, or not to be reached.
    """
    if config.executor == LOCAL:
        yield Site(config=config)
        return
    async with _cluster_of(config).connected() as cluster:
        yield Site(config=config, cluster=cluster)


async def sized(config: ServerConfig) -> ServerConfig:
    """Fill in how many replicas there are, where that is left to a cluster.

    Raises:
        ConfigurationError: the cluster cannot be reached, or has no room for a single one.
    """
    if config.executor == LOCAL or config.devices:
        return config
    async with _cluster_of(config).connected() as cluster:
        count = await cluster.room()
    if not count:
        ray = config.ray
        raise ConfigurationError(
            f"the Ray cluster has no node with {ray.replica_gpus:g} GPU and {ray.replica_cpus:g} CPU for a replica: "
            "say with --replicas how many to wait for, or ask for less with --replica-gpus and --replica-cpus"
        )
    _log.info("the Ray cluster has room for %d replicas", count)
    slots = max(config.slots, config.ray.slots_per_replica * count)
    return dataclasses.replace(config, devices=ray_devices(count), slots=slots)


def ray_devices(count: int) -> tuple[str, ...]:
    """Name so many replicas of a cluster, but no nodes: each may live on one after another."""
    return tuple(f"ray:{number}" for number in range(count))


def check_ray() -> None:
    """Find Ray without importing it.

    Raises:
        ConfigurationError: it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError("replicas on a Ray cluster need Ray: pip install 'nasfeat[ray]'")


def _cluster_of(config: ServerConfig) -> "RayCluster":
    check_ray()
    from nasfeat_server.engine.ray_cluster import RayCluster  # noqa: PLC0415 - for those who ask for it

    return RayCluster(config.ray)
