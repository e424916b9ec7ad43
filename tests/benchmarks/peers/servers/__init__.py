"""A server of each peer: `MODULE ADDRESS MODEL SIZE LOADS SCRATCH`, read by `arguments`."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Arguments:
    """What a server is told: where to listen, which model (see `peers.model`), of which size of pictures.

    `loads` are those that will come, and `scratch` is a directory of its own.
    """

    host: str
    port: int
    model: str
    size: int
    loads: tuple[str, ...]
    scratch: str


def arguments() -> Arguments:
    """Read the command line."""
    address, model, size, loads, scratch = sys.argv[1:]
    host, _, port = address.rpartition(":")
    return Arguments(host, int(port), model, int(size), tuple(loads.split(",")), scratch)
