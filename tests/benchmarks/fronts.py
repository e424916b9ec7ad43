"""What several front ends cost beside one: processor time of all the server's own processes for each frame."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
from measure import Program, program, pump
from rich.progress import Progress
from rich.table import Table

_SERVER = Path(sys.executable).with_name("nasfeat-server")
_OPTIONS = ("--engine", "fake", "--weights", "random:0", "--devices", "cpu:0")
_ANYWHERE = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--log-level", "info")
_FRONT_ENDS = 2
_STREAMS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one frame, in us of processor time: of the main process, and of all front ends' together; and the speed."""

    main_us: float
    front_us: float
    frames_per_s: float


def _front_ends(server: Program) -> list[psutil.Process]:
    return [child for child in server.process.children() if "nasfeat_server.cli.front_end" in child.cmdline()]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _cost(server: Program, frames: int) -> Cost:
    fronts = _front_ends(server)
    main_s, front_s = server.cpu_s(), sum(map(_cpu_s, fronts))
    pumped = await asyncio.gather(*(pump(server, frames=frames, own=True) for _ in range(_STREAMS)))
    count = frames * _STREAMS
    return Cost(
        main_us=1e6 * (server.cpu_s() - main_s) / count,
        front_us=1e6 * (sum(map(_cpu_s, fronts)) - front_s) / count,
        frames_per_s=sum(one.frames_per_s for one in pumped),
    )


async def front_end_rows(table: Table, progress: Progress, *, frames: int, rounds: int) -> None:
    """Measure one front end and several in turns."""
    task = progress.add_task(f"{_FRONT_ENDS} front ends against one", total=2 * rounds)
    async with (
        program(_SERVER, *_OPTIONS, *_ANYWHERE) as one,
        program(_SERVER, *_OPTIONS, *_ANYWHERE, "--front-ends", str(_FRONT_ENDS)) as several,
    ):
        for number in range(rounds):
            alone = await _cost(one, frames)
            progress.advance(task)
            apart = await _cost(several, frames)
            progress.advance(task)
            all_us = apart.main_us + apart.front_us
            table.add_row(
                f"{_FRONT_ENDS} front ends, round {number + 1}: processor time a raw frame",
                f"{all_us:.4g} us, of it main {apart.main_us:.3g} us",
                f"one {alone.main_us:.4g} us",
                f"{all_us / alone.main_us:.3f}",
            )
            speeds = (apart.frames_per_s, alone.frames_per_s)
            table.add_row(
                "  frames a second, the client on the same cores",
                f"{speeds[0]:.4g}",
                f"{speeds[1]:.4g}",
                f"{speeds[0] / speeds[1]:.3f}",
            )
