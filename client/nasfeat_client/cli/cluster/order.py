"""What a cluster is told to do: plain values that travel to its nodes."""

from dataclasses import dataclass

from nasfeat_client.config import ClientConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Actors ask servers.

    Attributes:
        targets: their addresses, as the nodes reach them.
        config: how they are spoken to.
    """

    targets: tuple[str, ...]
    config: ClientConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Actors hold an engine each; its settings are those of `nasfeat-server serve`.

    Attributes:
        weights: where the weights are, as the nodes find them.
        variant: the network; None takes what the weights say.
        engine: its name, or "auto".
        crop: how pictures are brought to the network's proportions.
        max_batch_size: pictures computed at once, a power of two.
    """

    weights: str
    variant: str | None
    engine: str
    crop: str
    max_batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """The actors that make vectors of pictures.

    Attributes:
        count: how many; 0 is one for each GPU, or for each node where there are none or servers are asked.
        cpus: cores that Ray sets aside for each; so many threads of one that holds an engine decode.
        gpus: GPUs that Ray sets aside for each; None is one where the cluster has some and actors hold engines.
    """

    count: int = 0
    cpus: float = 1.0
    gpus: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One run.

    Attributes:
        sources: see `plan.items_of`.
        names: paths and URIs of further pictures, which need not be looked for.
        output: path or URI of the folder that the table will be.
        outputs: the outputs wanted, by name; none means the feature vector.
        by: what makes the vectors.
        replicas: the actors.
        part_size: pictures in a file, at most.
        restart: throw away what the folder has.
        version: of nasfeat; every node must have the same.
    """

    sources: tuple[str, ...]
    names: tuple[str, ...] = ()
    output: str
    outputs: tuple[str, ...]
    by: Servers | Engine
    replicas: Replicas
    part_size: int
    restart: bool
    version: str
