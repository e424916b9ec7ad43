"""The other end of `nasfeat_server.engine.shipping`: on a machine that is to serve an artifact of the server's."""

import functools
import hashlib
import tempfile
from pathlib import Path

from nasfeat_server.engine.artifacts import ArtifactStore
from nasfeat_server.engine.choice import processor
from nasfeat_server.engine.shipping import Contents, Shipment
from nasfeat_server.errors import CacheError
from nasfeat_server.network.weights.values import Report

# What is compiled for one kind of processor. An engine that does not find it compiles anew.
_COMPILED = ".blob"


def find(shipment: Shipment, report: Report) -> str | None:
    """Look for it on this machine; None if it has to be sent."""
    for directory in directories(shipment):
        if found := ArtifactStore(directory, report).find(_key(shipment)):
            return str(found)
    return None


def keep(shipment: Shipment, contents: Contents, report: Report) -> str:
    """Leave what was sent on this machine, once for all of its processes, and name the directory.

    Raises:
        CacheError: there is no place for it.
    """
    complaints = []
    for directory in directories(shipment):
        try:
            make = functools.partial(_write, shipment, contents)
            return str(ArtifactStore(directory, report).get(_key(shipment), make))
        except CacheError as error:
            complaints.append(str(error))
    raise CacheError("; ".join(complaints))


def directories(shipment: Shipment) -> tuple[Path, ...]:
    """Name where it may lie: where the server has it, or where anything can be written."""
    return Path(shipment.artifact).parent, Path(tempfile.gettempdir()) / "nasfeat-prepared"


def _key(shipment: Shipment) -> str:
    name, here = Path(shipment.artifact).name, processor()
    return name if here == shipment.processor else f"{name}-{hashlib.sha256(here.encode()).hexdigest()[:8]}"


def _write(shipment: Shipment, contents: Contents, directory: Path) -> None:
    for name, data in contents.items():
        if name.endswith(_COMPILED) and processor() != shipment.processor:
            continue
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data.tofile(path)
