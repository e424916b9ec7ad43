"""Engines beside each other and beside runtimes as they come, in one run: images a second, starts, memory."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from rich.progress import Progress
from rich.table import Table

_HERE = Path(__file__).parent
# Multiply-adds of one image, of which each is two operations: Zoph et al., "Learning Transferable Architectures for
# Scalable Image Recognition", 2018, tables 2 and 3.
_OPERATIONS = {"large": 2 * 23.8e9, "mobile": 2 * 564e6}
_GEMM_SIZE = 2048
_GEMM_TRIES = 8


class EngineProcess:
    """One way to run the network, in a process of its own that is asked round by round; see `engine_alone`."""

    def __init__(self, way: str, process: asyncio.subprocess.Process, start_s: float) -> None:
        """Wrap a process that is ready."""
        self.way = way
        self.start_s = start_s
        self.remark = ""
        self._process = process

    @classmethod
    async def start(
        cls, way: str, *, variant: str, batches: Sequence[int], cache: Path, precision: str = "fp32"
    ) -> "EngineProcess":
        """Start a process; returns when every batch size has run once."""
        started_at = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            _HERE / "engine_alone.py",
            *(way, variant, ",".join(map(str, batches)), precision, cache),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        engine = cls(way, process, 0.0)
        while (line := await engine._line()) != "ready":
            engine.remark = line
        engine.start_s = time.monotonic() - started_at
        return engine

    async def _line(self) -> str:
        if not self._process.stdout:
            raise AssertionError("the output is a pipe")
        line = (await self._process.stdout.readline()).decode()
        if not line:
            raise RuntimeError(f"{self.way} ended with {await self._process.wait()}")
        return line.strip()

    async def images_per_s(self, batch: int, images: int) -> float:
        """Run so many images in batches of one size."""
        if not self._process.stdin:
            raise AssertionError("the input is a pipe")
        self._process.stdin.write(f"{batch} {images}\n".encode())
        return float(await self._line())

    def memory_mb(self) -> float:
        """Read the resident memory."""
        return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6

    async def stop(self) -> None:
        """End the process."""
        self._process.kill()
        await self._process.wait()


def gemm_rate() -> float:
    """Measure what this machine's cores multiply in float32, operations a second, with NumPy's BLAS."""
    square = np.random.default_rng(0).random((_GEMM_SIZE, _GEMM_SIZE), np.float32)
    taken = []
    for _ in range(_GEMM_TRIES):
        started_at = time.perf_counter()
        np.matmul(square, square)
        taken.append(time.perf_counter() - started_at)
    return 2 * _GEMM_SIZE**3 / min(taken)


async def measure_engines(
    progress: Progress,
    *,
    ways: Sequence[tuple[str, str]],
    variant: str,
    batches: Sequence[int],
    rounds: int,
    cache: Path,
) -> Table:
    """Measure `ways`, pairs of engine and precision, in turns, round by round and batch by batch."""
    task = progress.add_task(f"NASNet-A {variant}: starting", total=len(ways) * (2 + rounds * len(batches)))
    engines, starts = [], []
    for way, precision in ways:
        taken = []
        for last in (False, True):
            progress.update(task, description=f"NASNet-A {variant}: starting {way} {precision}", advance=1)
            engine = await EngineProcess.start(way, variant=variant, batches=batches, cache=cache, precision=precision)
            taken.append(engine.start_s)
            if not last:
                await engine.stop()
        engines.append(engine)
        starts.append(taken)
    rates: list[list[list[float]]] = [[[] for _ in batches] for _ in engines]
    peaks = []
    for number in range(rounds):
        peaks.append(gemm_rate())
        for column, batch in enumerate(batches):
            for row, engine in enumerate(engines):
                what = f"round {number + 1} of {rounds}, batch {batch}, {engine.way}"
                progress.update(task, description=f"NASNet-A {variant}: {what}", advance=1)
                rates[row][column].append(await engine.images_per_s(batch, _images(variant, batch)))
    table = _table(variant, batches, statistics.median(peaks))
    for (way, precision), engine, taken, measured in zip(ways, engines, starts, rates, strict=True):
        table.add_row(
            f"{way} {precision}\n  {engine.remark}".rstrip(),
            *(_rate(statistics.median(column), variant, statistics.median(peaks)) for column in measured),
            f"{taken[0]:.1f} s, {taken[1]:.1f} s",
            f"{engine.memory_mb():.0f} MB",
        )
        await engine.stop()
    return table


def _images(variant: str, batch: int) -> int:
    return max(batch, 4 if variant == "large" else 64)


def _table(variant: str, batches: Sequence[int], peak: float) -> Table:
    cores = len(os.sched_getaffinity(0))
    title = f"NASNet-A {variant} on {cores} cores whose GEMM does {peak / 1e9:.0f} GFLOP/s: images/s and part of GEMM"
    table = Table(title=title)
    for heading in ("engine", *(f"batch {batch}" for batch in batches), "1st, 2nd start", "memory"):
        table.add_column(heading, no_wrap=True)
    return table


def _rate(images_per_s: float, variant: str, peak: float) -> str:
    digits = 2 if images_per_s < 10 else 1
    return f"{images_per_s:.{digits}f} {images_per_s * _OPERATIONS[variant] / peak:.0%}"
