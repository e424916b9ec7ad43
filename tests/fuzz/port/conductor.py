"""One run against the port, from the server's start to what is left of it."""

import asyncio
import gc
import io
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from PIL import Image
from tests.fuzz.port import calls, connections
from tests.fuzz.port.neighbours import NeighbourError, Neighbours
from tests.fuzz.result import Result
from tests.fuzz.wire_mutation import drawing
from tests.soak.findings import left_over
from tests.soak.log import complaints
from tests.soak.processes import Server, running_server
from tests.soak.readings import Resources, alive, resources, scrape

from nasfeat_client import AsyncFeatureClient

NAME = "port"
_FAKE = ("--engine", "fake", "--weights", "random:0", "--variant", "cifar")
_ANYWHERE = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
_ATTACKERS = 6
_ATTACK_S = 20.0
_SETTLED_WITHIN_S = 60.0
MAX_GROWTH = 16 * 2**20
"""Bytes that the server may hold more after the attacks than after the first of them."""
_RAW = {
    "garbage": connections.garbage,
    "frames": connections.frames,
    "headers": connections.headers,
    "abandoned": connections.abandoned,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long, from which seed; `folder` gets the server's log."""

    seconds: float
    seed: int
    folder: Path


async def fuzz_port(options: Options, say: Callable[[str], None]) -> Result:
    """Attack a real server while others use it, and see what is left of it."""
    options.folder.mkdir(parents=True, exist_ok=True)
    log = options.folder / "server.log"
    began_at = time.monotonic()
    async with running_server(*_FAKE, *_ANYWHERE, log=log) as server:
        run = _Run(server, options)
        peak = await run.attack(say)
        crashes = [*run.crashes, *await _left(server, run, say)]
    crashes += [f"the log: {line}" for line in complaints(log.read_text(errors="replace"))]
    return Result(
        target=NAME,
        inputs=run.kinds.total(),
        seconds=time.monotonic() - began_at,
        crashes=tuple(crashes),
        hangs=tuple(run.hangs),
        peak_mib=peak // 2**20,
        kinds=dict(sorted(run.kinds.items())) | dict(run.neighbours.counts),
    )


class _Run:
    """The attacks on one server.

    Attributes:
        kinds: attacks by kind.
        crashes: what broke, with the seed that made it.
        hangs: attacks that the server did not end.
        before: what the server held after the first of them.
        replicas: its replicas then.
    """

    def __init__(self, server: Server, options: Options) -> None:
        self._server = server
        self._options = options
        self.kinds: Counter[str] = Counter()
        self.crashes: list[str] = []
        self.hangs: list[str] = []
        self.replicas = server.replicas()
        self.before: Resources | None = None
        self._stop = asyncio.Event()
        self.neighbours = Neighbours(server.listening, self._stop)

    async def attack(self, say: Callable[[str], None]) -> int:
        """Attack until the time is up or something breaks; gives the most memory that the server had."""
        await _start_decoders(self._server.listening)
        peak = await self._for(self._options.seconds / 5, phase=0)
        if not alive(self._server.process):
            return peak
        self.before = await settled(self._server, None)
        say(f"  {NAME}: warm, {_told(self.before)}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._accompany())
            peak = await self._for(self._options.seconds * 4 / 5, phase=1)
            self._stop.set()
        return peak

    async def _accompany(self) -> None:
        try:
            await self.neighbours.run()
        except* NeighbourError as group:
            self.crashes += [f"a neighbour was harmed: {error}" for error in group.exceptions]

    async def _for(self, seconds: float, *, phase: int) -> int:
        until, peak = time.monotonic() + seconds, 0
        async with asyncio.TaskGroup() as tasks:
            attackers = [tasks.create_task(self._attacker(phase, number, until)) for number in range(_ATTACKERS)]
            while not all(one.done() for one in attackers):
                peak = max(peak, resources(self._server.process).rss) if alive(self._server.process) else peak
                await asyncio.wait(attackers, timeout=0.5)
        return peak

    async def _attacker(self, phase: int, attacker: int, until: float) -> None:
        chosen = drawing(hash((self._options.seed, phase, attacker)))
        async with grpc.aio.insecure_channel(self._server.listening) as channel:
            while time.monotonic() < until and not (self.crashes or self.hangs):
                kind, seed = chosen.choice((*_RAW, *calls.ATTACKS)), chosen.getrandbits(48)
                draw = drawing(seed)
                raw = _RAW.get(kind)
                attack = raw(self._server.listening, draw) if raw else calls.ATTACKS[kind](channel, draw)
                await self._judged(kind, seed, attack)

    async def _judged(self, kind: str, seed: int, attack: Awaitable[None]) -> None:
        self.kinds[kind] += 1
        try:
            async with asyncio.timeout(_ATTACK_S):
                await attack
        except TimeoutError:
            self.hangs.append(f"{kind}, seed {seed}: no end within {_ATTACK_S:.0f} s")
        except calls.FaultError as error:
            self.crashes.append(f"{kind}, seed {seed}: {error}")


async def _start_decoders(listening: str) -> None:
    """Have the server start all of its decoding threads, as when files come together, before it is looked at."""
    files = []
    for shade in range(2 * (os.cpu_count() or 1)):
        file = io.BytesIO()
        Image.new("RGB", (1500, 1500), (shade, 90, 90)).save(file, "PNG")
        files.append(file.getvalue())
    async with AsyncFeatureClient(listening) as client:
        await asyncio.gather(*(client.extract(file) for file in files))


async def settled(server: Server, before: Resources | None) -> Resources:
    """Give what the server takes once it has nothing to do, and no more than `before`, or does not come down to it."""
    deadline = time.monotonic() + _SETTLED_WITHIN_S
    while time.monotonic() < deadline and alive(server.process):
        now = resources(server.process)
        if not any((await scrape(server.metrics)).busy.values()) and not (before and left_over(before, now)):
            return now
        await asyncio.sleep(0.2)
    return resources(server.process)


def _told(now: Resources) -> str:
    return f"{now.private / 2**20:.1f} MiB, {sum(now.threads.values())} threads, {now.descriptors} descriptors"


async def _left(server: Server, run: _Run, say: Callable[[str], None]) -> list[str]:
    """Say what is not as it was."""
    if not alive(server.process) or run.before is None:
        return [f"the server ended with {server.child.returncode}"]
    # Calls that were broken off hold their connections, at this end, until they are collected.
    gc.collect()
    now = await settled(server, run.before)
    say(f"  {NAME}: afterwards {_told(now)}")
    wrong = left_over(run.before, now)
    busy = {what: number for what, number in (await scrape(server.metrics)).busy.items() if number}
    if busy:
        wrong.append(f"the server is busy with nothing: {busy}")
    if [one.pid for one in server.replicas()] != [one.pid for one in run.replicas]:
        wrong.append("a replica is another one")
    growth = now.private - run.before.private
    if growth > MAX_GROWTH:
        wrong.append(f"the server's memory grew by {growth / 2**20:.1f} MiB")
    return wrong
