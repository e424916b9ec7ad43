"""What the main process and its front ends tell each other that is more than numbers and texts.

Pickled: both are the same program, over a socket that nobody else has.
"""

from dataclasses import dataclass

from nasfeat_server.config import ServerConfig
from nasfeat_server.engine.arena import ArenaLayout
from nasfeat_server.engine.interface import ModelDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a front end is told first.

    Attributes:
        config: the server's; `listen` has the port that all share.
        log_level: from which the log has lines.
        log_format: of the log.
    """

    config: ServerConfig
    log_level: str
    log_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A version of the model that a front end is to serve; its arena's file descriptor comes beside it.

    Attributes:
        config: the server's, with the weights and the name of this version.
        description: what its replicas have loaded.
        layout: the arena's.
    """

    config: ServerConfig
    description: ModelDescription
    layout: ArenaLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldModel:
    """A `ModelState`, with the number that the front ends know the version by."""

    number: int
    label: str
    share: float
    warm_devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldState:
    """A `ServerState`."""

    models: tuple[ToldModel, ...]
    loading: str
    ready: bool
