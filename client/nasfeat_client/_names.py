"""Targets that stand for several servers: `dns:///host:port` for as many as the name has addresses."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

from nasfeat_client.errors import ServerUnavailableError

_DNS = "dns:///"
_LISTS = ("ipv4:", "ipv6:")
_DEFAULT_PORT = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server is.

    Attributes:
        target: what gRPC connects to.
        name: "host:port" that it was looked up by, which its certificate is for; "" if `target` says it.
    """

    target: str
    name: str = ""


def is_name(target: str) -> bool:
    """Tell whether `target` has to be looked up."""
    return target.startswith(_DNS)


def listed(target: str) -> list[Place]:
    """Give the servers of a target that is no name: `ipv4:10.0.0.1:50051,10.0.0.2:50051` is two."""
    for scheme in _LISTS:
        if target.startswith(scheme):
            return [Place(target=scheme + address) for address in target.removeprefix(scheme).split(",")]
    return [Place(target=target)]


async def look_up(target: str) -> list[Place]:
    """Give the servers of a name, in the order of their addresses.

    Raises:
        ServerUnavailableError: nobody knows the name now.
    """
    name = target.removeprefix(_DNS)
    host, _, port = name.rpartition(":") if not name.endswith("]") else (name, "", "")
    host, port = (host, port) if host else (name, str(_DEFAULT_PORT))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServerUnavailableError(f"{target} cannot be looked up: {error}") from error
    return [Place(target=one, name=f"{host}:{port}") for one in sorted({_target(kind, at) for kind, *_, at in found})]


def _target(kind: socket.AddressFamily, at: tuple[Any, ...]) -> str:
    return f"ipv6:[{at[0]}]:{at[1]}" if kind == socket.AF_INET6 else f"ipv4:{at[0]}:{at[1]}"
