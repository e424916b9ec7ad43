"""What nodes of a Ray cluster add: a device that sleeps on each, so that the figures are those of the way to them.

All nodes are on this machine and share its cores, as no real ones do. Hence two sizes of images: with small ones the
cluster costs little beside the sleep, and the ratio tells of the scheduling; with the network's own it tells of this
machine as well.
"""

import contextlib
import statistics
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from measure import SIZE, Program, program, pump
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from ray_nodes import Nodes, ray_nodes

BATCH_S = 0.05
BATCH = 4
_NODES = 3
_SIZES = {"cifar": 32, "large": SIZE}
_SERVER = Path(sys.executable).with_name("nasfeat-server")
_ANYWHERE = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--log-level", "info")
_SLEEPING = ("--engine", "fake", "--weights", f"sleep:{BATCH_S}", "--max-batch", str(BATCH))


async def ray_rows(table: Table, progress: Progress, *, rounds: int) -> None:
    """Compare three nodes with one, and one node with a replica of the server's own machine, in turns."""
    task = progress.add_task("starting a Ray cluster", total=len(_SIZES))
    async with ray_nodes(_NODES + 1) as nodes:
        for variant, size in _SIZES.items():
            progress.update(task, description=f"a device that takes {1000 * BATCH_S:g} ms a batch of {BATCH}, on Ray")
            await _rows(table, nodes, variant, size, rounds)
            progress.advance(task)


async def _rows(table: Table, nodes: Nodes, variant: str, size: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {"wide": [], "narrow": [], "local": []}
    cpu_us: dict[str, list[float]] = {"wide": [], "narrow": [], "local": []}
    async with (
        _on_ray(nodes, variant, _NODES) as wide,
        _on_ray(nodes, variant, 1) as narrow,
        program(_SERVER, *_SLEEPING, "--variant", variant, "--devices", "cpu:0", *_ANYWHERE) as local,
    ):
        servers = {"wide": wide, "narrow": narrow, "local": local}
        for _ in range(rounds):
            for name, server in servers.items():
                frames = 200 * (_NODES if name == "wide" else 1)
                pumped = await pump(server, frames=frames, window=64, size=size)
                rates[name].append(pumped.frames_per_s)
                cpu_us[name].append(pumped.cpu_us)
    ideal = BATCH / BATCH_S
    what = f"{size}x{size}, {1000 * BATCH_S:g} ms a batch of {BATCH}"
    _row(table, f"{_NODES} Ray nodes, {what}", rates["wide"], "1 Ray node", rates["narrow"])
    _row(table, f"  1 Ray node (the device could do {ideal:g})", rates["narrow"], "local", rates["local"])
    _row(table, "  processor time of the server's process", cpu_us["narrow"], "local", cpu_us["local"], "us a frame")


@contextlib.asynccontextmanager
async def _on_ray(nodes: Nodes, variant: str, replicas: int) -> AsyncIterator[Program]:
    cluster = ("--executor", "ray", "--ray-address", nodes.address, "--replica-gpus", "0", "--min-replicas", "0")
    options = (*_SLEEPING, "--variant", variant, *cluster, "--replicas", str(replicas), *_ANYWHERE)
    async with program(_SERVER, *options) as server:
        yield server


def _row(
    table: Table, name: str, figures: list[float], reference: str, others: list[float], unit: str = "a second"
) -> None:
    ratios = [one / other for one, other in zip(figures, others, strict=True)]
    table.add_row(
        name,
        f"{statistics.median(figures):.4g} {unit}",
        f"{reference} {statistics.median(others):.4g} {unit}",
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
    )
