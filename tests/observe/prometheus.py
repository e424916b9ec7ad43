"""A real Prometheus: started beside the server, asked over its HTTP interface."""

import asyncio
import contextlib
import json
import math
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.observe.queries import ROOT

CONFIGURATION = ROOT / "deploy" / "prometheus" / "prometheus.yml"
SCRAPE_INTERVAL_S = 1


class PrometheusError(Exception):
    """Prometheus could not be started, or did not like a query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of an answer: its labels, and its values that are numbers, in the order of time."""

    labels: Mapping[str, str]
    values: tuple[float, ...]


class Prometheus:
    """Asks a Prometheus.

    Args:
        address: "host:port" where it serves.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    async def over_time(self, expr: str, *, start: float, end: float, step_s: float) -> list[Series]:
        """Evaluate `expr` at every step from `start` to `end`, both seconds since the epoch.

        Raises:
            PrometheusError: it cannot be evaluated.
        """
        return _series(await self._ask("query_range", query=expr, start=start, end=end, step=step_s))

    async def label_values(self, label: str, series: str) -> list[str]:
        """List the values of `label` among `series`.

        Raises:
            PrometheusError: it does not understand them.
        """
        values: list[str] = await self._ask(f"label/{label}/values", **{"match[]": series})
        return values

    async def labels_of(self, metric: str) -> list[Mapping[str, str]]:
        """List the labels of every series that a metric has had."""
        found: list[Mapping[str, str]] = await self._ask("series", **{"match[]": f'{{__name__="{metric}"}}'})
        return found

    async def describes(self, metric: str) -> bool:
        """Tell whether what is scraped has a description of `metric`, be there series of it or not."""
        return bool(await self._ask("metadata", metric=metric))

    async def targets_up(self) -> bool:
        """Tell whether all that is to be scraped has been, well."""
        targets = (await self._ask("targets"))["activeTargets"]
        return bool(targets) and all(target["health"] == "up" for target in targets)

    async def _ask(self, what: str, **parameters: object) -> Any:
        return await asyncio.to_thread(self._get, what, parameters)

    def _get(self, what: str, parameters: Mapping[str, object]) -> Any:
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise PrometheusError(json.load(error)["error"]) from error


def _series(data: Mapping[str, Any]) -> list[Series]:
    found = []
    for one in data["result"]:
        # A native histogram is told as a whole; its count is as good a number as any.
        points: Sequence[Sequence[Any]] = one.get("values") or [
            (at, histogram["count"]) for at, histogram in one["histograms"]
        ]
        values = tuple(value for _, text in points if not math.isnan(value := float(text)))
        found.append(Series(labels=one["metric"], values=values))
    return found


@contextlib.asynccontextmanager
async def running(target: str, folder: Path, *, native: bool = False) -> AsyncIterator[Prometheus]:
    """Run Prometheus with the committed configuration and rules until the context ends.

    Args:
        target: "host:port" of what is scraped.
        folder: where its files and its log go.
        native: native histograms are scraped, in place of those with fixed buckets.

    Raises:
        PrometheusError: there is none, or it ended.
    """
    program = shutil.which("prometheus")
    if not program:
        raise PrometheusError("Prometheus is not installed: scripts/install_system_tools.sh prometheus")
    configuration = _configuration(target, folder)
    log = folder / "prometheus.log"
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            *(("--enable-feature=native-histograms",) if native else ()),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=file,
        )
    try:
        while not (found := re.search(r'msg="Listening on" address=(\S+)', log.read_text(errors="replace"))):
            if child.returncode is not None:
                raise PrometheusError(f"Prometheus ended with {child.returncode}: see {log}")
            await asyncio.sleep(0.1)
        yield Prometheus(found[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        await child.wait()


def _configuration(target: str, folder: Path) -> Path:
    """Write the committed configuration with another target and a faster clock."""
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    clock = {"scrape_interval": f"{SCRAPE_INTERVAL_S}s", "evaluation_interval": f"{SCRAPE_INTERVAL_S}s"}
    configuration["global"] = configuration["global"] | clock
    configuration["rule_files"] = [str(CONFIGURATION.parent / pattern) for pattern in configuration["rule_files"]]
    (job,) = configuration["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    folder.mkdir()
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(configuration))
    return path
