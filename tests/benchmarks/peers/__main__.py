"""`make peers`: nasfeat beside other servers of models, with the same pictures, network and weights.

docs/PEERS.md tells what is measured and how it is kept fair.
"""

import asyncio
import contextlib
import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from peers.catalogue import BUILD, LOADS, NETWORK, NULL_MODEL, PEERS, Peer, Serving
from peers.environments import MissingError, provide
from peers.machine import machine, versions
from peers.model import NULL
from peers.readings import Cell
from peers.report import Findings, show, write
from peers.running import FailedError, Plan, Visit, visit
from peers.written import write_pictures

_SIZES = {"large": 331, "mobile": 224}
# Of the norm; engines that add in other orders differ by a hundredth of this.
_LIKE = 1e-3


class _Numbers(click.ParamType[tuple[int, ...]]):
    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(word) for word in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} must be whole numbers with commas between them", param, ctx)
        if not all(1 <= number <= 128 for number in numbers):
            self.fail(f"{value!r} must be of numbers from 1 to 128, of whom each has pictures of its own", param, ctx)
        return numbers


class _Names(click.ParamType[tuple[str, ...]]):
    name = "NAME,NAME,..."

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(str(value).split(","))
        if unknown := [name for name in names if name not in self._known]:
            self.fail(f"{', '.join(unknown)!r} is none of {', '.join(self._known)}", param, ctx)
        return names


async def _provide(peers: Sequence[Peer], findings: Findings, progress: Progress) -> list[Peer]:
    """Make the environments; gives the peers that have theirs."""
    names = list(dict.fromkeys(peer.environment for peer in peers if peer.environment))
    task = progress.add_task("environments", total=len(names))
    missing: dict[str, str] = {}
    for name in names:
        progress.update(task, description=f"environment of {name} (the first time takes minutes)")
        try:
            await provide(name)
        except MissingError as error:
            missing[name] = str(error)
        progress.advance(task)
    findings.missing.update({peer.name: missing[peer.environment] for peer in peers if peer.environment in missing})
    return [peer for peer in peers if peer.environment not in missing]


async def _export(variant: str) -> Path:
    """Export the network with made-up weights, unless that was done: what all of them serve."""
    directory = BUILD / "models" / f"savedmodel-{variant}"
    if not directory.exists():
        server = Path(sys.executable).with_name("nasfeat-server")
        told = ("--variant", variant, "--weights", "random:0", "--format", "savedmodel", "--output", str(directory))
        process = await asyncio.create_subprocess_exec(
            server, "export", *told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise FailedError(f"the export failed: {output.decode()[-500:]}")
    return directory


class _Rounds:
    """All rounds of one model, peers in turns."""

    def __init__(self, plan: Plan, peers: Sequence[Peer], findings: Findings, progress: Progress) -> None:
        self._plan = plan
        self._peers = [peer for peer in peers if plan.model in peer.models]
        self._findings = findings
        self._progress = progress
        self._first: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None = None
        steps = sum(1 + len(plan.cells(peer)) for peer in self._peers)
        self._task = progress.add_task(plan.model, total=steps * plan.rounds)

    async def run(self, ends_at: float) -> None:
        """Run the rounds; no round is begun that would likely end after `ends_at`, but the first."""
        await self._prepare()
        taken_s = 0.0
        for number in range(self._plan.rounds):
            started_at = time.monotonic()
            if number and started_at + taken_s > ends_at:
                self._findings.notes.append(f"{self._plan.model}: {number} of {self._plan.rounds} rounds, for time")
                return
            for peer in self._peers:
                await self._visit(peer, number)
            taken_s = time.monotonic() - started_at

    async def _prepare(self) -> None:
        """Let nasfeat prepare the network, as peers find theirs exported: its later starts are compared to theirs."""
        for peer in self._peers if self._plan.model == NETWORK else ():
            if peer.is_ours:
                with contextlib.suppress(FailedError):
                    self._progress.update(self._task, description=f"{peer.title} prepares the network")
                    visited = await visit(peer, dataclasses.replace(self._plan, clients=()), lambda _: None)
                    self._findings.notes.append(
                        f"{peer.title}: {visited.cold_start_s:.1f} s from a start that may have prepared the network"
                    )

    async def _visit(self, peer: Peer, number: int) -> None:
        def told(cell: Cell | None) -> None:
            what = f"{cell.way}, {cell.load}, {cell.clients} callers" if cell else "starts"
            round_of = f"round {number + 1} of {self._plan.rounds}"
            self._progress.update(self._task, description=f"{self._plan.model}, {round_of}: {peer.title}, {what}")
            self._progress.advance(self._task)

        try:
            self._keep(peer, await visit(peer, self._plan, told))
        except (FailedError, OSError) as error:
            self._findings.failures.append(f"{self._plan.model}, {peer.title}, round {number + 1}: {error}")

    def _keep(self, peer: Peer, visited: Visit) -> None:
        key = (self._plan.model, peer.name)
        self._findings.cold_starts_s.setdefault(key, []).append(visited.cold_start_s)
        for cell, reading in visited.readings.items():
            self._findings.readings.setdefault(cell, []).append(reading)
        for cell, reason in visited.failures.items():
            what = f"{cell.way}, {cell.load}, {cell.clients} callers"
            self._findings.failures.append(f"{cell.model}, {peer.title}, {what}: {reason}")
        if self._plan.model == NETWORK:
            self._compare(peer, np.frombuffer(visited.answer, np.float32))

    def _compare(self, peer: Peer, features: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        """Make sure that all serve the same."""
        if self._first is None:
            self._first = features
        if features.shape != self._first.shape:
            self._findings.failures.append(f"{peer.title} gives {features.shape}, others {self._first.shape}")
            return
        difference = float(np.linalg.norm(features - self._first) / np.linalg.norm(self._first))
        self._findings.differences[self._plan.model, peer.name] = difference
        if not difference <= _LIKE:
            self._findings.failures.append(f"{peer.title} gives other features: they differ by {difference:.2g}")


async def _plans(options: dict[str, Any]) -> list[Plan]:
    loads = options["loads"]
    plans = []
    if NETWORK in options["models"]:
        serving = await _serving(options["variant"], loads[:1], network=True)
        seconds = options["network_seconds"]
        plans.append(_plan(serving, options["network_clients"], (seconds / 4, seconds), options["network_rounds"]))
    if NULL_MODEL in options["models"]:
        # What is sent and answered is that of the full-size network, whichever one is computed.
        serving = await _serving("large", loads, network=False)
        plans.append(_plan(serving, options["clients"], (0.3, options["seconds"]), options["rounds"]))
    return plans


async def _serving(variant: str, loads: tuple[str, ...], *, network: bool) -> Serving:
    size = _SIZES[variant]
    await asyncio.to_thread(write_pictures, _pictures(size), size)
    model = str(await _export(variant)) if network else NULL
    return Serving(model=model, variant=variant, size=size, loads=loads)


def _pictures(size: int) -> Path:
    return BUILD / f"pictures-{size}"


def _plan(serving: Serving, clients: tuple[int, ...], times_s: tuple[float, float], rounds: int) -> Plan:
    warm_s, seconds = times_s
    return Plan(
        model=NULL_MODEL if serving.model == NULL else NETWORK,
        serving=serving,
        pictures=_pictures(serving.size),
        clients=clients,
        warm_s=warm_s,
        seconds=seconds,
        rounds=rounds,
    )


async def _run(options: dict[str, Any]) -> None:
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    if own:
        loop.add_signal_handler(signal.SIGTERM, own.cancel)
    asked = [peer for peer in PEERS if peer.name in options["peers"]]
    findings = Findings(machine=machine(), versions=versions(options["peers"]), options=options)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        peers = await _provide(asked, findings, progress)
        plans = await _plans(options)
        ends_at = time.monotonic() + 60 * options["minutes"]
        for plan in plans:
            await _Rounds(plan, peers, findings, progress).run(ends_at)
            write(findings, BUILD)
    show(findings)
    print(f"results.json and results.md are in {BUILD}, the logs of all in logs")


_NAMES = [peer.name for peer in PEERS]
_MODELS = (NETWORK, NULL_MODEL)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--peers", default=",".join(_NAMES), type=_Names(_NAMES), help="Who is measured.")
@click.option("--models", default=",".join(_MODELS), type=_Names(_MODELS), help="The network, and the null model.")
@click.option("--loads", default=",".join(LOADS), type=_Names(LOADS), help="What is sent; the network gets the first.")
@click.option("--clients", default="1,8,64", type=_Numbers(), help="Callers at once, of the null model.")
@click.option("--seconds", default=1.0, type=click.FloatRange(0.2), help="Of a cell of the null model.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Of the null model.")
@click.option(
    "--variant",
    default="mobile",
    type=click.Choice(tuple(_SIZES)),
    help="Of the network; the null model has the sizes of large.",
)
@click.option("--network-clients", default="8", type=_Numbers(), help="Callers at once, of the network.")
@click.option("--network-seconds", default=6.0, type=click.FloatRange(1), help="Of a cell of the network.")
@click.option("--network-rounds", default=1, type=click.IntRange(1), help="Of the network.")
@click.option("--minutes", default=11.0, help="No round is begun that would likely end later.")
def main(**options: Any) -> None:
    """Measure nasfeat beside other servers of models; writes build/peers/results.json and results.md."""
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_run(options))
        return
    sys.exit(143)


if __name__ == "__main__":
    main()
