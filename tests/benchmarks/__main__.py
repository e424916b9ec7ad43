"""`make bench`: what nasfeat adds to the bare engine and to bare grpc, what live streams get, how fast engines are.

Ratios count, absolute figures are the machine's. Each figure and its reference are measured in turns within one run, so
that a machine whose speed drifts changes both.
"""

import asyncio
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import live
from decoding import decoding_table
from engine_table import EngineProcess, measure_engines
from fronts import front_end_rows
from measure import Program, photographs, program, pump, write_photographs
from ray_rows import ray_rows
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scheduler import scheduler_table

from nasfeat_client import AsyncFeatureClient, OverloadPolicy
from nasfeat_server.engine.choice import choose_engine

_HERE = Path(__file__).parent
_SERVER = Path(sys.executable).with_name("nasfeat-server")
_PARTS = ("decoding", "scheduler", "serving", "front-ends", "live", "ray", "server", "engines")
_WAYS = (
    ("openvino", "fp32"),
    ("openvino", "int8"),
    ("tensorflow", "fp32"),
    ("plain-openvino", "fp32"),
    ("plain-onnxruntime", "fp32"),
)
_BATCHES = (1, 2, 4, 8, 16)
_FRAMES_PER_MESSAGE = (1, 4)
_ANYWHERE = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--log-level", "info")


async def _through_sdk(address: str, images: int) -> float:
    """Stream raw frames of the network's size through the SDK; returns images a second."""
    pictures = photographs(64)
    loop = asyncio.get_running_loop()
    async with AsyncFeatureClient(address) as client:
        started_at = loop.time()
        async for result in client.stream(pictures[number % 64] for number in range(images)):
            result.raise_for_error()
        return images / (loop.time() - started_at)


async def _engine_rows(
    table: Table, progress: Progress, *, variant: str, batch: int, images: int, rounds: int, cache: Path
) -> None:
    task = progress.add_task(f"NASNet-A {variant}: starting the bare engine and the server", total=2 * rounds)
    way = choose_engine("auto", devices=("cpu:0",), precision="fp32", run_module_graph=False).engine
    buckets = [1 << power for power in range(batch.bit_length())]
    engine = await EngineProcess.start(way, variant=variant, batches=buckets, cache=cache)
    served_as = ("--variant", variant, "--weights", "random:0", "--devices", "cpu:0", "--cache", str(cache))
    options = (*served_as, "--max-batch", str(batch))
    async with program(_SERVER, *options, *_ANYWHERE) as server:
        await _through_sdk(server.address, 2 * batch)
        bare, served = [], []
        for number in range(rounds):
            progress.update(task, description=f"NASNet-A {variant}: round {number + 1} of {rounds}")
            bare.append(await engine.images_per_s(batch, images))
            progress.advance(task)
            served.append(await _through_sdk(server.address, images))
            progress.advance(task)
        _add(table, f"NASNet-A {variant}, batch {batch}: server + SDK", served, "bare engine", bare)
        _add_memory(table, server)
    await engine.stop()


async def _serving_rows(table: Table, progress: Progress, *, frames: int, rounds: int) -> None:
    task = progress.add_task("fake engine against a bare grpc.aio echo", total=2 * rounds * len(_FRAMES_PER_MESSAGE))
    options = ("--engine", "fake", "--weights", "random:0", "--devices", "cpu:0")
    async with (
        program(sys.executable, _HERE / "echo.py") as echo,
        program(_SERVER, *options, *_ANYWHERE) as server,
    ):
        for per_message in _FRAMES_PER_MESSAGE:
            bare, served = [], []
            for _ in range(rounds):
                bare.append(await pump(echo, frames=frames, per_message=per_message))
                progress.advance(task)
                served.append(await pump(server, frames=frames, per_message=per_message))
                progress.advance(task)
            name, reference = f"331x331 raw frames, {per_message} a message, no engine", "grpc.aio echo"
            _add(table, name, [one.frames_per_s for one in served], reference, [one.frames_per_s for one in bare])
            name = "  processor time of the server's process"
            _add(table, name, [one.cpu_us for one in served], reference, [one.cpu_us for one in bare], "us a frame")
        _add_memory(table, server)


async def _live_rows(table: Table, progress: Progress, *, rounds: int) -> None:
    task = progress.add_task("live streams against a sleeping device", total=3 * rounds)
    options = ("--engine", "fake", "--variant", "large", "--weights", f"sleep:{live.BATCH_S}", "--devices", "cpu:0")
    alone, beside, ages = [], [], list[float]()
    async with program(_SERVER, *options, "--max-batch", "4", *_ANYWHERE) as server:
        for _ in range(rounds):
            alone.append(1000 * await live.p99_queue_wait_s(server, flood=False, seconds=5))
            progress.advance(task)
            beside.append(1000 * await live.p99_queue_wait_s(server, flood=True, seconds=5))
            progress.advance(task)
    _add(table, "p99 queue wait of 16 streams beside a flood", beside, "without it", alone, "ms")
    async with program(_SERVER, *options, "--max-batch", "1", *_ANYWHERE) as server:
        for _ in range(rounds):
            ages += await live.ages_s(server, policy=OverloadPolicy.LATEST_ONLY, frames=300)
            progress.advance(task)
    median, p99 = (age / live.BATCH_S for age in live.percentiles(ages))
    name = "age of LATEST_ONLY results, camera 3 times as fast"
    table.add_row(name, f"p99 {p99:.2f} batches", f"batch {1000 * live.BATCH_S:g} ms", f"median {median:.2f}")


def _add(
    table: Table, name: str, served: list[float], reference: str, bare: list[float], unit: str = "a second"
) -> None:
    ratios = [one / other for one, other in zip(served, bare, strict=True)]
    table.add_row(
        name,
        f"{statistics.median(served):.4g} {unit}",
        f"{reference} {statistics.median(bare):.4g} {unit}",
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
    )


def _add_memory(table: Table, server: Program) -> None:
    own, replicas = server.memory_mb()
    sizes = ", ".join(f"{size:.0f} MB" for size in replicas)
    table.add_row("  memory of its server, without the arena", f"{own:.0f} MB", f"each replica {sizes}", "")
    table.add_row("  start until ready", f"{server.start_s:.1f} s", "", "")


async def _bench(*, only: tuple[str, ...], rounds: int, **options: Any) -> None:
    await _tables_of_their_own(only, rounds)
    await _rows(only=only, rounds=rounds, **options)


async def _rows(
    *, only: tuple[str, ...], variant: str, batch: int, images: int, frames: int, rounds: int, cache: Path
) -> None:
    console = Console(width=124)
    cores = len(os.sched_getaffinity(0))
    table = Table(title=f"nasfeat on {cores} cores, {platform.machine()}, Python {platform.python_version()}")
    for heading in ("what", "nasfeat", "reference", "ratio: median (range)"):
        table.add_column(heading, no_wrap=True)
    with Progress(console=Console(stderr=True)) as progress:
        if "serving" in only:
            await _serving_rows(table, progress, frames=frames, rounds=3 * rounds)
        if "front-ends" in only:
            await front_end_rows(table, progress, frames=frames, rounds=rounds)
        if "live" in only:
            await _live_rows(table, progress, rounds=rounds)
        if "ray" in only:
            await ray_rows(table, progress, rounds=rounds)
        if "server" in only:
            await _engine_rows(table, progress, variant=variant, batch=batch, images=images, rounds=rounds, cache=cache)
        if "engines" in only:
            write_photographs(cache / "pictures")
            engines = await measure_engines(
                progress, ways=_WAYS, variant=variant, batches=_BATCHES, rounds=rounds, cache=cache
            )
    if table.rows:
        console.print(table)
    if "engines" in only:
        console.print(engines)


async def _tables_of_their_own(only: tuple[str, ...], rounds: int) -> None:
    console = Console(width=124)
    if "decoding" in only:
        console.print(decoding_table(20 * rounds))
    if "scheduler" in only:
        console.print(await scheduler_table(rounds))


@click.command(context_settings={"show_default": True})
@click.option("--only", multiple=True, type=click.Choice(_PARTS), default=_PARTS, help="A part; may be repeated.")
@click.option("--variant", default="large", help="The network for the engines' rows.")
@click.option("--batch", default=4, help="The batch size through the server.")
@click.option("--images", default=40, help="Images in a round through the server.")
@click.option("--frames", default=1000, help="Frames in a round of the serving rows.")
@click.option("--rounds", default=5, help="Rounds of the engines' rows; the serving rows take three times as many.")
def main(**options: Any) -> None:
    """Measure nasfeat against its references, print tables."""
    with tempfile.TemporaryDirectory() as cache:
        asyncio.run(_bench(**options, cache=Path(cache)))


if __name__ == "__main__":
    main()
