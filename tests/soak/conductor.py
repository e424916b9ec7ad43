"""One soak from the server's start to its exit."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.soak.blows import Blows
from tests.soak.findings import Findings, Sample, left_over
from tests.soak.ledger import FIELDS
from tests.soak.log import complaints
from tests.soak.processes import ClientProcess, Ended, Server, running_server, unanswered
from tests.soak.readings import Metrics, Resources, alive, resources, scrape
from tests.soak.rests import is_quiet
from tests.soak.warmth import warm_up

HANG_S = 4.0
# Replicas die so often here that their pauses would grow to half a minute: a quarantine ends that growth.
_SERVER_OPTIONS = (
    *("--engine", "fake", "--weights", "sleep:0.005+0.001", "--variant", "mobile"),
    *("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
    *("--hang", str(HANG_S), "--outage", "3", "--quarantine-after", "3", "--quarantine", "5"),
)
_IDLE_WITHIN_S = 60.0
_SETTLED_WITHIN_S = 90.0
_EXIT_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says: how long, from which seed, with how many replicas and clients, and where it goes."""

    minutes: float
    seed: int
    replicas: int
    clients: int
    folder: Path


class Soak:
    """Runs the load and gathers what is found.

    Args:
        options: the command line's.
        say: prints a line of progress.
    """

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._clients: dict[int, ClientProcess] = {}
        # The numbers of the clients that are started again when they were killed.
        self._wanted = set(range(options.clients))
        self._ended: list[Ended] = []
        self._samples: list[Sample] = []
        self._seen: set[psutil.Process] = set()
        self._began_at = 0.0

    async def run(self) -> Findings:
        """Run the soak."""
        devices = ",".join(f"cpu:{number}" for number in range(self._options.replicas))
        log = self._options.folder / "server.log"
        async with running_server(*_SERVER_OPTIONS, "--devices", devices, log=log) as server:
            await warm_up(server.listening)
            await self._idle(server)
            before = resources(server.process)
            self._say(
                f"the server takes work: {sum(before.threads.values())} threads, {before.descriptors} descriptors"
            )
            self._began_at = time.monotonic()
            dealt, cancelled = await self._load(server)
            idle = await self._idle(server)
            after = await self._settled(server, before)
            metrics = await scrape(server.metrics)
            replicas = len(server.replicas())
            status = await self._terminate(server)
        return Findings(
            seed=self._options.seed,
            load_s=self._samples[-1].at_s,
            samples=tuple(self._samples),
            before=before,
            after=after,
            idle=idle,
            metrics=metrics,
            replicas_wanted=self._options.replicas,
            replicas=replicas,
            clients=tuple(self._ended),
            dealt=dict(dealt),
            cancelled_at_the_end=cancelled,
            exit_status=status,
            orphans=tuple(str(process.pid) for process in self._seen if alive(process)),
            log_complaints=complaints(log.read_text(errors="replace")),
        )

    async def _load(self, server: Server) -> tuple[Counter[str], int]:
        blows = Blows(
            seed=self._options.seed,
            hang_s=HANG_S,
            replicas=server.replicas,
            clients=lambda: tuple(self._clients[number] for number in sorted(self._clients)),
        )
        async with asyncio.TaskGroup() as tasks:
            keepers = {number: tasks.create_task(self._keep(server, number)) for number in sorted(self._wanted)}
            dealing = tasks.create_task(blows.run())
            watching = [tasks.create_task(self._sample(server)), tasks.create_task(self._report(server))]
            await asyncio.sleep(60 * self._options.minutes)
            for task in (dealing, *watching):
                task.cancel()
            cancelled = await self._end_load(server, keepers)
        return blows.dealt, cancelled

    async def _end_load(self, server: Server, keepers: dict[int, asyncio.Task[None]]) -> int:
        """Let all clients finish but one, and kill that amid its work; returns the frames cancelled by that."""
        last = max(keepers)
        self._say("the load ends: all clients but one finish, the last is killed")
        self._wanted = {last}
        for number, client in self._clients.items():
            if number != last:
                client.finish()
        await asyncio.gather(*(keeper for number, keeper in keepers.items() if number != last))

        with _suspended(server.replicas()):
            # Nothing is computed now, so that what is in flight stays there.
            await _until(lambda: self._waits_for(server, last, keepers[last]), 30.0)
            before = await scrape(server.metrics)
            self._wanted.clear()
            if last in self._clients:
                self._clients[last].kill()
            await keepers[last]
            await _until(lambda: _has_no_frames(server), _IDLE_WITHIN_S)
            after = await scrape(server.metrics)
        return sum(after.frames.get(outcome, 0) - before.frames.get(outcome, 0) for outcome in ("cancelled", "expired"))

    async def _waits_for(self, server: Server, number: int, keeper: asyncio.Task[None]) -> bool:
        client = self._clients.get(number)
        in_flight = (await scrape(server.metrics)).busy["in flight"]
        return keeper.done() or (in_flight > 0 and client is not None and unanswered(client.counts) > 0)

    async def _keep(self, server: Server, number: int) -> None:
        """Keep a client alive; one that ends by itself before it should is not started again."""
        life = 0
        while number in self._wanted:
            seed = f"{self._options.seed}/{number}/{life}"
            client = ClientProcess(address=server.listening, seed=seed, folder=self._options.folder / "clients")
            self._seen.add(await client.start())
            self._clients[number] = client
            if number not in self._wanted:
                client.finish()
            ended = await client.wait()
            del self._clients[number]
            self._ended.append(ended)
            life += 1
            if not ended.killed:
                return

    async def _sample(self, server: Server) -> None:
        while True:
            self._seen.update(server.replicas())
            at_s = time.monotonic() - self._began_at
            at_rest = is_quiet() and await _has_no_frames(server)
            self._samples.append(Sample(at_s=at_s, at_rest=at_rest, resources=resources(server.process)))
            await asyncio.sleep(1)

    async def _report(self, server: Server) -> None:
        while True:
            await asyncio.sleep(10)
            metrics, now = await scrape(server.metrics), resources(server.process)
            self._say(_line(time.monotonic() - self._began_at, metrics, now, self._counts()))

    def _counts(self) -> Counter[str]:
        living = [client.counts for client in self._clients.values()]
        total = Counter(dict.fromkeys(FIELDS, 0))
        for counts in (*living, *(ended.counts for ended in self._ended)):
            total.update(counts)
        return total

    async def _idle(self, server: Server) -> bool:
        async def holds() -> bool:
            metrics = await scrape(server.metrics)
            return not any(metrics.busy.values()) and metrics.replicas_up == self._options.replicas

        return await _until(holds, _IDLE_WITHIN_S)

    async def _settled(self, server: Server, before: Resources) -> Resources:
        """Give what the idle server takes once it is down to what it took `before`, or does not come down to it."""

        async def holds() -> bool:
            return not left_over(before, resources(server.process))

        await _until(holds, _SETTLED_WITHIN_S)
        return resources(server.process)

    async def _terminate(self, server: Server) -> int | None:
        self._seen.update(server.replicas())
        server.child.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_WITHIN_S):
                return await server.child.wait()
        return None


async def _has_no_frames(server: Server) -> bool:
    return (await scrape(server.metrics)).busy["in flight"] == 0


@contextlib.contextmanager
def _suspended(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop `processes` until the context ends; those that are dead by then stay so."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


async def _until(holds: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    """Return True as soon as `holds()`, False if it does not within so many seconds."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if await holds():
            return True
        await asyncio.sleep(0.2)
    return False


def _line(at_s: float, metrics: Metrics, now: Resources, counts: Counter[str]) -> str:
    frames = ", ".join(f"{outcome} {count}" for outcome, count in sorted(metrics.frames.items()))
    threads = sum(now.threads.values())
    return (
        f"{at_s:4.0f} s  {now.rss / 2**20:.0f} MiB, {threads} threads, {now.descriptors} descriptors, "
        f"{metrics.replicas_up} replicas; streams {counts['streams']}, calls {counts['calls']}, "
        f"sent {counts['sent']}; {frames}"
    )
