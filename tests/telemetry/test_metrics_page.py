"""docs/METRICS.md has what a running server shows, and nothing else."""

import asyncio
import dataclasses
import re
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from checkers import installed
from credentials import Authority, bearing, channel_to, write_tokens
from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc
from nasfeat_server.config import TracingConfig
from nasfeat_server.errors import SupersededError
from nasfeat_server.rpc.status import STATUSES
from nasfeat_server.scheduling.overload import OverloadPolicy
from nasfeat_server.telemetry.events import (
    ModelLabel,
    Outcome,
    ReloadFinished,
    ReplicaDied,
    ReplicaReady,
    Source,
    Stage,
)
from nasfeat_server.telemetry.front_end_metrics import FrontEndMetrics
from nasfeat_server.telemetry.gpu_metrics import GpuMetrics
from nasfeat_server.telemetry.nvml import GpuReader, GpuReading
from serving import frame, next_result, opening, running

_PAGE = Path(__file__).parents[2] / "docs" / "METRICS.md"
# A collector that nobody misses, since nothing is traced.
_TRACING = TracingConfig(endpoint="http://127.0.0.1:1", ratio=0.0)
_TOKEN = "nasfeat_the-right-one"  # noqa: S105 - of nobody
# What the names of metrics in a unit end in, before "_total".
_ENDINGS: dict[str, str | tuple[str, ...]] = {
    "seconds": "_seconds",
    "seconds since 1970": "_seconds",
    "bytes": "_bytes",
    "watts": "_watts",
    "ratio": ("_ratio", "_cosine"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One metric of the page, or of a scrape."""

    name: str
    kind: str
    labels: frozenset[str]


class _Gpu(GpuReader):
    """A machine with every GPU that it is asked for."""

    def read(self, number: int) -> GpuReading:
        """Look at it."""
        return GpuReading(utilization=0.5, memory_used=number, memory_total=1.0, power_watts=1.0)


def _cells(heading: str) -> list[list[str]]:
    """Give the rows of all tables of the page whose first column is called `heading`."""
    rows, wanted = [], False
    for line in _PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            wanted = False
        elif cells[0] == heading:
            wanted = True
        elif wanted and not cells[0].startswith("---"):
            rows.append(cells)
    return rows


def _page() -> dict[str, _Entry]:
    rows = _cells("metric")
    entries = [
        _Entry(name=cells[0].strip("`"), kind=cells[1], labels=frozenset(re.findall(r"`(\w+)`", cells[2])))
        for cells in rows
    ]
    found = {entry.name: entry for entry in entries}
    assert len(found) == len(rows), "a metric is there twice"
    return found


def _values_of(label: str) -> set[str]:
    [row] = [cells for cells in _cells("label") if cells[0] == label]
    return set(re.findall(r"`([^`]+)`", row[1]))


def _entry(metric: Metric) -> _Entry:
    suffix = {"counter": "_total"}.get(metric.type, "")
    labels = frozenset(name for sample in metric.samples for name in sample.labels if name != "le")
    return _Entry(name=metric.name + suffix, kind=metric.type, labels=labels)


async def _scrape(app: Any) -> str:
    answer = await asyncio.to_thread(urllib.request.urlopen, f"http://{app.metrics}/metrics")
    text: str = answer.read().decode()
    return text


@pytest.fixture
async def scraped(tmp_path: Path) -> AsyncIterator[str]:
    """Run a server with everything switched on, use it, and give what it shows."""
    tokens = write_tokens(tmp_path / "tokens.toml", {"cameras": ((_TOKEN,), {})})
    authority = Authority(tmp_path)
    security = dataclasses.replace(authority.security, tokens=tokens)
    async with (
        running(security=security, cache_bytes=2**20, tracing=_TRACING) as app,
        channel_to(str(app.listening), authority.trusting()) as channel,
    ):
        # What does not happen here by itself.
        app._observer.observe(ReplicaReady(device="cpu:0", start_s=1.0, mean_cosine=0.99, min_cosine=0.9))
        app._observer.observe(ReplicaDied(device="cpu:0", cause="killed"))
        app._observer.observe(ReloadFinished(outcome="failed"))
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        call: Any = stub.StreamFeatures(metadata=bearing(_TOKEN))
        request = frame(1)
        request.frame.capture_time.GetCurrentTime()
        for message in (opening(), request):
            await call.write(message)
        await next_result(call)
        await call.done_writing()
        assert await next_result(call) is None
        await stub.ListModels(feature_service_pb2.ListModelsRequest(), metadata=bearing(_TOKEN))
        yield await _scrape(app)


def test_the_page_has_every_metric_and_no_other(scraped: str) -> None:
    """By name, type and labels, in both directions."""
    # This machine may have no GPU, whose metrics have no series then; this server has one front end.
    fronts = FrontEndMetrics(1, is_up=lambda _: True, load=lambda _: 0)
    metrics = (
        *text_string_to_metric_families(scraped),
        *GpuMetrics(("gpu:0",), _Gpu()).collect(),
        *fronts.collect(),
    )
    shown = {entry.name: entry for entry in map(_entry, metrics)}
    assert shown == _page()


def test_names_tell_their_units() -> None:
    """What the page has in seconds, bytes, watts or as a ratio is called so, and nothing else is."""
    for cells in _cells("metric"):
        name, unit = cells[0].strip("`").removesuffix("_total"), cells[3]
        if unit:
            assert name.endswith(_ENDINGS[unit]), name
        else:
            assert not name.endswith(("_seconds", "_bytes", "_watts", "_ratio")), name


def test_the_values_of_labels_are_those_of_the_code() -> None:
    """Where the code has a list of them."""
    reasons = {kind.__name__.removesuffix("Error") for kind in (*STATUSES, SupersededError)}
    outcomes = {outcome.value for outcome in Outcome}
    assert _values_of("`outcome` of images") == outcomes
    assert _values_of("`reason` of `nasfeat_frames_total`") == reasons | {Outcome.OK, Outcome.CANCELLED}
    assert _values_of("`stage`") == {stage.value for stage in Stage}
    assert _values_of("`source`") == {source.value for source in Source}
    assert _values_of("`overload`") == {policy.value for policy in OverloadPolicy}
    assert _values_of("`label`") == {label.value for label in ModelLabel}
    service = feature_service_pb2.DESCRIPTOR.services_by_name["FeatureService"]
    assert _values_of("`method`") == {method.name for method in service.methods}


def test_every_label_has_its_values_on_the_page(scraped: str) -> None:
    """And those with a list have no other ones."""
    listed = {label for cells in _cells("label") for label in re.findall(r"`(\w+)`", cells[0])}
    used = {label for entry in _page().values() if entry.name.startswith(("nasfeat", "grpc")) for label in entry.labels}
    facts = {"name", "version", "weights_digest", "weights_source", "precision", "trained", "python"}
    assert used - facts == {label for label in listed if not label.startswith("nasfeat_")}
    for metric in text_string_to_metric_families(scraped):
        for sample in metric.samples:
            for label in ("stage", "source", "result", "overload", "close_reason", "cause", "statistic", "label"):
                if value := sample.labels.get(label):
                    assert value in _values_of(f"`{label}`"), sample


def test_promtool_has_no_complaints(scraped: str) -> None:
    """About names, types, units and help of a real scrape."""
    checked = subprocess.run(
        [installed("promtool"), "check", "metrics"], input=scraped, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
