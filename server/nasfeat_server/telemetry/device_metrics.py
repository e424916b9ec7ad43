"""The metrics of devices: their batches, and the replicas that compute them."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nasfeat_server.telemetry import events
from nasfeat_server.telemetry.figures import Counts, DeviceFigures
from nasfeat_server.telemetry.replica_memory import tree_bytes
from nasfeat_server.telemetry.tally import Buckets, HistogramFamily, Tally

_SIZES = Buckets((1, 2, 4, 8, 16, 32, 64, 128), powers=(-1, 10))
_FILLS = Buckets((0.03125, 0.0625, 0.125, 0.25, 0.5, 0.75, 1), powers=(-10, 1))
_NO_COUNTS = Counts(bounds=(), counts=())
_CAUSES = ("killed", "exited", "hung", "node_lost", "failed_start")


class DeviceMetrics(Collector):
    """Counts batches, and the lives of replicas. Fed by the event loop; memory is read at the scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric, at zero."""
        registry.register(self)
        device = ("device",)
        self._of_device: dict[str, _Batches] = {}
        self._processes: dict[str, tuple[int, ...]] = {}
        self._batches = Counter(
            "nasfeat_batches", "Batches by why they were closed.", ("device", "close_reason"), registry=registry
        )
        self._last_batch = Gauge(
            "nasfeat_last_batch_timestamp_seconds", "When the last batch was done.", device, registry=registry
        )
        self._busy = Counter("nasfeat_device_busy_seconds", "Time a device computed.", device, registry=registry)
        self._batch_limit = Gauge(
            "nasfeat_batch_limit", "Largest batch now; smaller after out of memory.", device, registry=registry
        )
        self._up = Gauge("nasfeat_replica_up", "1 while the device's replica takes work.", device, registry=registry)
        self._wanted = Gauge(
            "nasfeat_replica_wanted", "1 unless the load needs no replica of the device.", device, registry=registry
        )
        self._restarts = Counter(
            "nasfeat_replica_restarts", "Replicas lost and started again.", ("device", "cause"), registry=registry
        )
        self._quarantined = Gauge(
            "nasfeat_replica_quarantined", "1 while the device is left alone.", device, registry=registry
        )
        self._start_seconds = Gauge(
            "nasfeat_replica_start_seconds", "Time the last start took until warm.", device, registry=registry
        )
        self._cosine = Gauge(
            "nasfeat_precision_cosine",
            "Feature vectors against fp32's when the replica started; absent in fp32.",
            ("device", "statistic"),
            registry=registry,
        )

    def watch(self, devices: Sequence[str], is_warm: Callable[[str], bool], is_wanted: Callable[[str], bool]) -> None:
        """Show every device from the start."""
        for device in devices:
            self._up.labels(device).set_function(functools.partial(is_warm, device))
            self._wanted.labels(device).set_function(functools.partial(is_wanted, device))
            self._quarantined.labels(device).set(0)
            self._busy.labels(device)
            for cause in _CAUSES:
                # A counter that begins at 1 has not increased, as Prometheus sees it.
                self._restarts.labels(device, cause)

    def batch_finished(self, event: events.BatchFinished) -> None:
        """Count a batch."""
        batches = self._of_device.get(event.device) or self._begin(event.device)
        batches.sizes.add(event.size)
        batches.fills.add(event.size / event.limit)
        if event.close_reason not in batches.closed:
            batches.closed[event.close_reason] = self._batches.labels(event.device, event.close_reason)
        batches.closed[event.close_reason].inc()
        batches.busy.inc(event.busy_s)
        batches.last.set(time.time())

    def _begin(self, device: str) -> "_Batches":
        batches = self._of_device[device] = _Batches(self._busy.labels(device), self._last_batch.labels(device))
        return batches

    def batch_limit_changed(self, event: events.BatchLimitChanged) -> None:
        """Show the largest batch."""
        self._batch_limit.labels(event.device).set(event.limit)

    def replica_started(self, event: events.ReplicaStarted) -> None:
        """Show the memory of another process of the device."""
        self._processes[event.device] = (*self._processes.get(event.device, ()), event.pid)

    def replica_ended(self, event: events.ReplicaEnded) -> None:
        """Forget a process."""
        left = self._processes.get(event.device, ())
        self._processes[event.device] = tuple(pid for pid in left if pid != event.pid)

    def replica_ready(self, event: events.ReplicaReady) -> None:
        """Show how a start went."""
        self._quarantined.labels(event.device).set(0)
        self._start_seconds.labels(event.device).set(event.start_s)
        if event.mean_cosine is not None and event.min_cosine is not None:
            self._cosine.labels(event.device, "mean").set(event.mean_cosine)
            self._cosine.labels(event.device, "min").set(event.min_cosine)

    def replica_died(self, event: events.ReplicaDied) -> None:
        """Count a death."""
        self._restarts.labels(event.device, event.cause).inc()

    def replica_quarantined(self, event: events.ReplicaQuarantined) -> None:
        """Show that a device is left alone."""
        self._quarantined.labels(event.device).set(1)

    def replica_parked(self, event: events.ReplicaParked) -> None:
        """Show that a device is left alone for no fault of its own."""
        self._quarantined.labels(event.device).set(0)

    def busy_s(self) -> float:
        """Give the seconds that all devices together have computed; from any thread."""
        return sum(_by_device(self._busy).values())

    def figures(self) -> Sequence[DeviceFigures]:
        """Give what was counted for each device that is watched; their memory is read for it."""
        up, wanted, quarantined = map(_by_device, (self._up, self._wanted, self._quarantined))
        busy, restarts, limits = _by_device(self._busy), _by_device(self._restarts), _by_device(self._batch_limit)
        cosines = _by_device(self._cosine, statistic="mean")
        return [
            DeviceFigures(
                device=device,
                is_up=bool(up[device]),
                is_wanted=bool(wanted[device]),
                is_quarantined=bool(quarantined.get(device)),
                busy_s=busy.get(device, 0.0),
                batches=self._of_device[device].sizes.counts() if device in self._of_device else _NO_COUNTS,
                batch_limit=int(limits[device]) if device in limits else None,
                restarts=int(restarts.get(device, 0)),
                mean_cosine=cosines.get(device),
                memory_bytes=_memory(self._processes.get(device, ())),
            )
            for device in up
        ]

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        sizes = HistogramFamily("nasfeat_batch_size", "Images in a batch.", ("device",))
        of_device = self._of_device.copy().items()
        for device, batches in of_device:
            batches.sizes.write(sizes, (device,))
        fills = HistogramFamily(
            "nasfeat_batch_fill_ratio", "Images in a batch, of those that the limit allowed then.", ("device",)
        )
        for device, batches in of_device:
            batches.fills.write(fills, (device,))
        memory = GaugeMetricFamily(
            "nasfeat_replica_memory_bytes", "Memory of the processes of the device's replicas.", labels=("device",)
        )
        for device, pids in self._processes.copy().items():
            memory.add_metric((device,), _memory(pids))
        yield from (sizes, fills, memory)


class _Batches:
    """What is counted of one device's batches; looking metrics up by their labels costs more than counting."""

    def __init__(self, busy: Counter, last: Gauge) -> None:
        self.sizes = Tally(_SIZES)
        self.fills = Tally(_FILLS)
        self.busy = busy
        self.last = last
        self.closed: dict[str, Counter] = {}


def _by_device(metric: Counter | Gauge, **labels: str) -> dict[str, float]:
    """Add up the series of each device that have `labels`."""
    found: dict[str, float] = {}
    for sample in itertools.chain.from_iterable(family.samples for family in metric.collect()):
        if not sample.name.endswith("_created") and labels.items() <= sample.labels.items():
            device = sample.labels["device"]
            found[device] = found.get(device, 0.0) + sample.value
    return found


def _memory(pids: Sequence[int]) -> int:
    return sum(size for size in map(tree_bytes, pids) if size is not None)
