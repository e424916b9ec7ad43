"""The figures of a run as a table and as JSON."""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from tests.fuzz.result import Result

_LIBRARIES = ("nasfeat", "atheris", "pillow", "simplejpeg", "protobuf", "grpcio", "numpy")


def table(results: Sequence[Result]) -> Table:
    """Lay out the figures."""
    drawn = Table(title=f"Python {platform.python_version()}")
    drawn.add_column("target", no_wrap=True)
    for column in ("inputs", "a second", "edges", "new", "crashes", "hangs", "peak MiB", "time s"):
        drawn.add_column(column, justify="right")
    for one in results:
        rate, edges, new = one.inputs / max(one.seconds, 1e-9), _or_dash(one.edges), _or_dash(one.found)
        broken = (str(len(one.crashes)), str(len(one.hangs)))
        drawn.add_row(
            one.target, f"{one.inputs}", f"{rate:.0f}", edges, new, *broken, f"{one.peak_mib}", f"{one.seconds:.0f}"
        )
        for kind, number in one.kinds.items():
            drawn.add_row(f"  {kind}", f"{number}")
    return drawn


def write_json(path: Path, results: Sequence[Result]) -> None:
    """Write everything, and the versions that it is of."""
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES if _is_installed(name)}
    document = {
        "python": platform.python_version(),
        "versions": versions,
        "targets": [dataclasses.asdict(one) for one in results],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _is_installed(name: str) -> bool:
    return any(importlib.metadata.distributions(name=name))


def _or_dash(number: int | None) -> str:
    return "-" if number is None else f"{number}"
