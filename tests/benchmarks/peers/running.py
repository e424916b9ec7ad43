"""One visit to a server: start it, ask it in every way that it has, end it."""

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.catalogue import BUILD, Peer, Serving, environment_of, load_command, server_command
from peers.processes import LEASH, Tree, leashed
from peers.readings import Cell, Reading

_START_LIMIT_S = 120.0
_SLACK_S = 60.0
# A vector in hexadecimal is longer than what asyncio takes for a line.
_LINE_LIMIT = 2**22


class FailedError(Exception):
    """A server or its client did not do what it should; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a model is measured.

    Attributes:
        model: "null" or "nasnet".
        serving: what servers are told.
        pictures: the directory of the pictures.
        clients: how many ask at once, one number for each cell.
        warm_s: seconds of load before a measurement.
        seconds: of a measurement.
        rounds: of all peers, in turns.
    """

    model: str
    serving: Serving
    pictures: Path
    clients: tuple[int, ...]
    warm_s: float
    seconds: float
    rounds: int

    def cells(self, peer: Peer) -> list[Cell]:
        """List the cells of a peer, in the order they are measured in."""
        return [
            Cell(model=self.model, load=load, clients=clients, way=way, peer=peer.name)
            for way in peer.ways
            for load in self.serving.loads
            for clients in self.clients
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What came of a visit: seconds from the start to the first answer, that answer, and the cells."""

    cold_start_s: float
    answer: bytes
    readings: Mapping[Cell, Reading]
    failures: Mapping[Cell, str]


class _Load:
    """The load generator's process, which takes orders."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def order(self, order: Mapping[str, Any]) -> None:
        if not self._process.stdin:
            raise AssertionError("it is a pipe")
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()

    async def told(self, limit_s: float) -> dict[str, Any]:
        """Wait for its next message.

        Raises:
            FailedError: it ended, it failed, or it said nothing for so long.
        """
        if not self._process.stdout:
            raise AssertionError("it is a pipe")
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), limit_s)
        except TimeoutError as error:
            raise FailedError(f"the client said nothing for {limit_s:g} s") from error
        if not line:
            raise FailedError("the client ended")
        message: dict[str, Any] = json.loads(line)
        if reason := message.get("failed"):
            raise FailedError(reason)
        return message


@contextlib.asynccontextmanager
async def _loading(peer: Peer, address: str, pictures: Path, log: Path) -> AsyncIterator[_Load]:
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-E", LEASH, *load_command(peer, address, pictures)),
            env=environment_of(peer),
            cwd=log.parent,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=written,
            limit=_LINE_LIMIT,
            start_new_session=True,
        )
    try:
        load = _Load(process)
        try:
            await load.told(_START_LIMIT_S)
        except FailedError as error:
            raise FailedError(f"{error}: {tail(log)}") from error
        yield load
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def visit(peer: Peer, plan: Plan, on_cell: Callable[[Cell | None], None]) -> Visit:
    """Start `peer`, measure its cells, end it; `on_cell` hears of each before it begins, and of None when it starts.

    Raises:
        FailedError: it did not start, or was lost.
    """
    on_cell(None)
    address = f"127.0.0.1:{_free_port()}"
    logs = BUILD / "logs" / f"{plan.model}-{peer.name}"
    logs.mkdir(parents=True, exist_ok=True)
    # Short: the names of sockets below it have a limit.
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as scratch:
        command = server_command(peer, plan.serving, address, Path(scratch))
        log = logs / "server.log"
        async with _loading(peer, address, plan.pictures, logs / "client.log") as load:
            started_at = time.monotonic()
            async with leashed(*command, environment=environment_of(peer), directory=Path(scratch), log=log) as server:
                answer = await _first(load, server[0], plan.serving.loads[0], log)
                cold_start_s = time.monotonic() - started_at
                # Some have a model for each load, which may be ready later.
                for other in plan.serving.loads[1:]:
                    await _first(load, server[0], other, log)
                return await _measured(plan, peer, load, server[1], on_cell, (cold_start_s, answer))


async def _first(load: _Load, process: asyncio.subprocess.Process, what: str, log: Path) -> bytes:
    await load.order({"first": _START_LIMIT_S, "load": what})
    asked, ended = asyncio.create_task(load.told(_START_LIMIT_S + _SLACK_S)), asyncio.create_task(process.wait())
    try:
        await asyncio.wait((asked, ended), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise FailedError(f"the server ended with {ended.result()}: {tail(log)}")
        try:
            return bytes.fromhex(asked.result()["answer"])
        except FailedError as error:
            raise FailedError(f"{error}; the server said: {tail(log)}") from error
    finally:
        for task in (asked, ended):
            task.cancel()
        await asyncio.gather(asked, ended, return_exceptions=True)


async def _measured(
    plan: Plan,
    peer: Peer,
    load: _Load,
    tree: Tree,
    on_cell: Callable[[Cell | None], None],
    first: tuple[float, bytes],
) -> Visit:
    readings: dict[Cell, Reading] = {}
    failures: dict[Cell, str] = {}
    for cell in plan.cells(peer):
        on_cell(cell)
        try:
            readings[cell] = await _reading(plan, cell, load, tree)
        except FailedError as error:
            failures[cell] = str(error)
    return Visit(cold_start_s=first[0], answer=first[1], readings=readings, failures=failures)


async def _reading(plan: Plan, cell: Cell, load: _Load, tree: Tree) -> Reading:
    told = {"way": cell.way, "load": cell.load, "clients": cell.clients}
    await load.order({**told, "warm_s": plan.warm_s, "seconds": plan.seconds})
    await load.told(plan.warm_s + _SLACK_S)
    cpu_s = tree.cpu_s()
    result = await load.told(plan.seconds + _SLACK_S)
    cpu_s = tree.cpu_s() - cpu_s
    return Reading(
        images=result["images"],
        images_per_s=result["images"] / result["seconds"],
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
        cpu_us=1e6 * cpu_s / result["images"],
        memory_mb=tree.memory_mb(),
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def tail(log: Path, length: int = 400) -> str:
    """Give the end of a log, in one line."""
    return " ".join(log.read_text(errors="replace").split())[-length:] or "nothing"
