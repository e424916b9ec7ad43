"""What can be read of the server from outside: its metrics, and what its process takes."""

import asyncio
import contextlib
import re
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

_GAUGES = {
    "in flight": "nasfeat_in_flight_frames",
    "streams": "nasfeat_streams",
    "slots in use": "nasfeat_slots_in_use",
    "queue depth": "nasfeat_queue_depth",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """One scrape.

    Attributes:
        frames: images that had their outcome, by outcome.
        busy: what must be 0 when the server has nothing to do.
        replicas_up: replicas that take work.
        deaths: replicas lost, by cause.
        computed: images that devices worked on.
        calls: calls by method and status.
    """

    frames: Mapping[str, int]
    busy: Mapping[str, int]
    replicas_up: int
    deaths: Mapping[str, int]
    computed: int
    calls: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the server's own process takes, replicas apart.

    Attributes:
        rss: bytes of resident memory, the arena's pages that it touched included.
        private: the same without the arena.
        threads: by what they are called outside Python; those of Python bear the program's name.
    """

    rss: int
    private: int
    threads: Mapping[str, int]
    descriptors: int


def parse_metrics(text: str) -> Metrics:
    """Read what Prometheus would scrape."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def by(name: str, *labels: str) -> dict[str, int]:
        totals: dict[str, int] = {}
        for sample in samples:
            if sample.name == name:
                key = " ".join(sample.labels[label] for label in labels)
                totals[key] = totals.get(key, 0) + int(sample.value)
        return totals

    return Metrics(
        frames=by("nasfeat_frames_total", "outcome"),
        busy={what: sum(by(name).values()) for what, name in _GAUGES.items()},
        replicas_up=sum(by("nasfeat_replica_up").values()),
        deaths={cause: number for cause, number in by("nasfeat_replica_restarts_total", "cause").items() if number},
        computed=sum(by("nasfeat_batch_size_sum").values()),
        calls=by("nasfeat_requests_total", "method", "code"),
    )


async def scrape(address: str) -> Metrics:
    """Ask the server for its metrics."""

    def get() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as reply:
            text: str = reply.read().decode()
            return text

    return parse_metrics(await asyncio.to_thread(get))


def resources(process: psutil.Process) -> Resources:
    """Look at a process."""
    rss = process.memory_info().rss
    shared = re.search(r"RssShmem:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return Resources(
        rss=rss,
        private=rss - 1024 * int(shared[1] if shared else 0),
        threads=_threads(process),
        descriptors=process.num_fds(),
    )


def _threads(process: psutil.Process) -> Mapping[str, int]:
    names: Counter[str] = Counter()
    for name in Path(f"/proc/{process.pid}/task").glob("*/comm"):
        # One may end as it is read.
        with contextlib.suppress(OSError):
            names[name.read_text().strip()] += 1
    return dict(names)


def alive(process: psutil.Process) -> bool:
    """Tell whether it runs; one that has ended and was not waited for does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
