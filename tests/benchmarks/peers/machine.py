"""On what it was measured, and with which versions: figures travel no further than this."""

import datetime as dt
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from peers.catalogue import PEERS
from peers.environments import pins

_OURS = ("nasfeat", "grpcio", "protobuf", "numpy", "tensorflow", "openvino")


def machine() -> dict[str, str]:
    """Describe the machine and the moment."""
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": found[1] if found else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load before it": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def versions(names: Iterable[str]) -> dict[str, list[str]]:
    """List the versions of each environment that the peers of these names run in; "" is ours."""
    environments = dict.fromkeys(peer.environment for peer in PEERS if peer.name in set(names))
    return {name: list(pins(name)) if name else _our_versions() for name in environments}


def _our_versions() -> list[str]:
    found = []
    for name in _OURS:
        try:
            found.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
