"""Replicas on the nodes of a Ray cluster."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nasfeat_server.config.checks import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class RayConfig:
    """Where the cluster is, and what each replica asks of it.

    Attributes:
        address: "auto", or HOST:PORT of the cluster's head; this machine must be a node of it.
        replica_gpus: GPUs of each replica; a fraction shares one, 0 computes on CPUs.
        replica_cpus: CPU cores of each replica, which no other replica of its node gets.
        min_replicas: warm replicas with which serving begins; 0 waits for all of them.
        keep_replicas: replicas that are kept when there is little to do; None keeps all.
        scale_up_after_s: seconds of too much work after which more of them are asked for.
        scale_down_after_s: seconds of little work after which those that it does not need are ended.
        slots_per_replica: places of the arena for each replica where their number is the cluster's to say; 0 keeps
            `ServerConfig.slots`.
    """

    address: str = "auto"
    replica_gpus: float = 1.0
    replica_cpus: float = 1.0
    min_replicas: int = 1
    keep_replicas: int | None = None
    scale_up_after_s: float = 10.0
    scale_down_after_s: float = 300.0
    slots_per_replica: int = 0

    def __post_init__(self) -> None:
        """Refuse what no cluster can give.

        Raises:
            InvalidSettingsError: names every setting that is wrong, and what is allowed.
        """
        refuse(
            (
                "address",
                "://" in self.address,
                f"a server must run on a node ('auto'; `ray start --num-cpus 0` makes one), not at {self.address!r}",
            ),
            (
                "replica_gpus",
                not _divisible(self.replica_gpus),
                f"a replica's GPUs must be a whole number, or a part of one GPU, not {self.replica_gpus:g}",
            ),
            (
                "replica_cpus",
                not _divisible(self.replica_cpus),
                f"a replica's CPU cores must be a whole number, or a part of one core, not {self.replica_cpus:g}",
            ),
            (
                "replica_cpus",
                self.replica_cpus == self.replica_gpus == 0,
                "a replica must ask for a GPU or a CPU core, or a part of one",
            ),
            ("min_replicas", self.min_replicas < 0, "the replicas to begin with must be 0 or more"),
            *self._scaling(),
        )

    def _scaling(self) -> Iterator[tuple[str, bool, str]]:
        keep = self.keep_replicas
        yield ("keep_replicas", keep is not None and keep < 1, "the replicas that are kept must be 1 or more")
        yield (
            "min_replicas",
            keep is not None and self.min_replicas > keep,
            f"a server that keeps {keep} replicas begins with so many at most, not with {self.min_replicas}",
        )
        yield (
            "scale_up_after_s",
            self.scale_up_after_s < 1,
            f"replicas can be asked for after 1 second or more, not after {self.scale_up_after_s:g}",
        )
        yield ("scale_down_after_s", self.scale_down_after_s <= 0, "replicas can be ended after more than 0 seconds")

    @property
    def kind(self) -> str:
        """What replicas compute on: "gpu" or "cpu"."""
        return "gpu" if self.replica_gpus else "cpu"


def _divisible(amount: float) -> bool:
    """Tell what Ray gives: any part of one, or several whole ones."""
    return math.isfinite(amount) and amount >= 0 and (amount <= 1 or amount == int(amount))
