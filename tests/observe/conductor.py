"""One run: the server, Prometheus, the load and what befalls it meanwhile, and then the queries."""

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.observe import prometheus
from tests.observe.anatomy import named
from tests.observe.credentials import CAMERAS, Credentials, make_credentials
from tests.observe.expected import ABSENT, NATIVE, UNSEEN
from tests.observe.judge import Judge, Judged, Span
from tests.observe.load import Load
from tests.observe.picture import take_picture
from tests.observe.prometheus import Prometheus
from tests.observe.queries import all_queries
from tests.soak.processes import Server, running_server

_COMMAND = Path(sys.executable).with_name("nasfeat-server")
# A batch of four takes 90 ms, so that the load is several times what two replicas can do.
_WEIGHTS = "sleep:0.05+0.01"
_SERVER_OPTIONS = (
    *("--engine", "fake", "--weights", _WEIGHTS, "--variant", "cifar", "--model-version", "first"),
    *("--devices", "cpu:0,cpu:1", "--max-batch", "4", "--slots", "16", "--cache-mib", "1"),
    *("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
)
_ORDERS = (
    ("load", "--weights", "sleep:0.05+0.005", "--version", "second", "--share", "0.5"),
    ("promote", "--keep-previous"),
    ("rollback",),
)
# Long enough for a rate of two scrapes at any moment, short enough to end within the run.
_RATE_INTERVAL = "10s"
VARIABLES = {
    "__rate_interval": _RATE_INTERVAL,
    "job": ".*",
    "instance": ".*",
    "device": ".*",
}
_UP_WITHIN_S = 20.0
_ORDER_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    seconds: float
    folder: Path


async def observe(options: Options, say: Callable[[str], None]) -> Sequence[Judged]:
    """Run the load, then judge every query.

    Raises:
        RuntimeError: the server did not serve, or an order to it failed.
        PrometheusError: Prometheus could not be run.
    """
    credentials, folder = make_credentials(options.folder), options.folder
    log, control = folder / "server.log", folder / "control"
    async with (
        running_server(*_SERVER_OPTIONS, *credentials.options, "--control", str(control), log=log) as server,
        prometheus.running(server.metrics, folder / "prometheus") as asked,
        prometheus.running(server.metrics, folder / "native", native=True) as asked_natively,
    ):
        await _until_up(asked)
        await _until_up(asked_natively)
        start = time.time()
        load = Load(server.listening, credentials, options.seconds)
        say(f"load for {options.seconds:.0f} s on {server.listening}, scraped at {server.metrics}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run())
            tasks.create_task(_befall(server, control, options.seconds))
            tasks.create_task(_picture(server.metrics, credentials, folder / "status.png", options.seconds / 2, say))
        say(f"{load.results} results; now the queries")
        # What was counted last has been scraped, and the rules have seen it.
        await asyncio.sleep(3 * prometheus.SCRAPE_INTERVAL_S)
        span = Span(start=start, end=time.time())
        judge = Judge(asked, span, absent=ABSENT, unseen=UNSEEN)
        native = Judge(asked_natively, span, absent={}, unseen={})
        return [
            await (native if named(query.expr).metrics & NATIVE else judge).judge(query)
            for query in all_queries(VARIABLES)
        ]


async def _picture(
    address: str, credentials: Credentials, path: Path, after_s: float, say: Callable[[str], None]
) -> None:
    """Take a picture of the status page as a tenant sees it, amid the load."""
    await asyncio.sleep(after_s)
    say(await take_picture(f"http://{address}/", path, token=credentials.tokens[CAMERAS]))


async def _until_up(asked: Prometheus) -> None:
    async with asyncio.timeout(_UP_WITHIN_S):
        while not await asked.targets_up():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.2)


async def _befall(server: Server, control: Path, seconds: float) -> None:
    """Kill a replica and give an order, one after the other, spread over the time of the load."""
    begun = time.monotonic()
    for number, order in enumerate(_ORDERS, 1):
        await asyncio.sleep(begun + seconds * number / (len(_ORDERS) + 2) - time.monotonic())
        _kill_one(server)
        await _give(control, *order)


def _kill_one(server: Server) -> None:
    for replica in itertools.islice(server.replicas(), 1):
        with contextlib.suppress(psutil.NoSuchProcess):
            replica.kill()


async def _give(control: Path, *order: str) -> None:
    child = await asyncio.create_subprocess_exec(
        _COMMAND,
        "admin",
        "--control",
        control,
        *order,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_ORDER_WITHIN_S):
        printed, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"the order {order} failed: {printed.decode()}")
