"""Every metric of the server: with the modules `*_metrics`, the place that knows their names, and feeds them events."""

import dataclasses
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from nasfeat_server.telemetry import events
from nasfeat_server.telemetry.call_metrics import CallMetrics
from nasfeat_server.telemetry.device_metrics import DeviceMetrics
from nasfeat_server.telemetry.exposition import expose
from nasfeat_server.telemetry.figures import DeviceFigures, FrameFigures
from nasfeat_server.telemetry.frame_metrics import FrameCounts, FrameMetrics
from nasfeat_server.telemetry.gpu_metrics import GpuMetrics
from nasfeat_server.telemetry.model_metrics import ModelMetrics
from nasfeat_server.telemetry.nvml import GpuReader


class PrometheusObserver:
    """Turns events into metrics of its own registry.

    Labels are bounded: methods, statuses, outcomes, reasons, stages and devices; never a stream or a frame.
    """

    def __init__(self, gpus: GpuReader | None = None) -> None:
        """Register every metric, at zero; GPUs are read through `gpus`, or the driver."""
        self._gpus = gpus or GpuReader()
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._frames = FrameMetrics()
        registry.register(self._frames)
        self._models = ModelMetrics()
        registry.register(self._models)
        self._calls = CallMetrics()
        registry.register(self._calls)
        self._devices = DeviceMetrics(registry)
        # `functools.singledispatchmethod` costs as much as the counting itself.
        self._counting: Mapping[type[events.Event], Callable[[Any], None]] = {
            events.FrameReceived: self._frame_received,
            events.FrameFinished: self._frames.finished,
            events.CacheAsked: self._frames.cache_asked,
            events.RequestFinished: self._calls.request_finished,
            events.CallStarted: self._calls.call_started,
            events.CallEnded: self._calls.call_ended,
            events.StreamOpened: self._calls.stream_opened,
            events.StreamClosed: self._calls.stream_closed,
            events.BatchFinished: self._devices.batch_finished,
            events.BatchLimitChanged: self._devices.batch_limit_changed,
            events.ReplicaStarted: self._devices.replica_started,
            events.ReplicaEnded: self._devices.replica_ended,
            events.ReplicaReady: self._devices.replica_ready,
            events.ReplicaDied: self._devices.replica_died,
            events.ReplicaQuarantined: self._devices.replica_quarantined,
            events.ReplicaParked: self._devices.replica_parked,
            events.ModelsChanged: self._models.changed,
            events.ReloadFinished: self._models.reloaded,
        }
        build = Info("nasfeat_build", "This program.", registry=registry)
        build.info({"version": version("nasfeat"), "python": platform.python_version()})

    @property
    def wanted(self) -> Collection[type[events.Event]]:
        """The kinds of events that are counted."""
        return self._counting.keys()

    def watch(
        self,
        *,
        devices: tuple[str, ...],
        is_warm: Callable[[str], bool],
        is_ready: Callable[[], bool],
        capacity: Callable[[], int],
        depth: Callable[[], int],
        slots_in_use: Callable[[], int],
        cache_bytes: Callable[[], float],
        is_wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Read gauges from the running parts at each scrape, on its thread, and show every device from the start."""
        self._devices.watch(devices, is_warm, is_wanted)
        self.registry.register(GpuMetrics(devices, self._gpus))
        ready = Gauge("nasfeat_ready", "1 while health checks are told to send work here.", registry=self.registry)
        ready.set_function(is_ready)
        queue = Gauge("nasfeat_queue_depth", "Images that wait for a replica.", registry=self.registry)
        queue.set_function(depth)
        limit = Gauge("nasfeat_queue_capacity", "Slots of the arena, which bound the queue.", registry=self.registry)
        limit.set_function(capacity)
        used = Gauge("nasfeat_slots_in_use", "Slots of the arena that hold an image.", registry=self.registry)
        used.set_function(slots_in_use)
        cached = Gauge("nasfeat_cache_bytes", "Results kept for images that come again.", registry=self.registry)
        cached.set_function(cache_bytes)

    def merge(self, counts: FrameCounts) -> None:
        """Count what another process has counted of images."""
        self._frames.merge(counts)

    def frames(self) -> FrameFigures:
        """Give what was counted of images; from any thread."""
        return self._frames.figures()

    def devices(self) -> Sequence[DeviceFigures]:
        """Give what was counted of devices; from any thread but the event loop's, as for an exposition."""
        return [
            dataclasses.replace(one, gpu=self._gpus.read(int(one.device[4:]))) if one.device.startswith("gpu:") else one
            for one in self._devices.figures()
        ]

    def busy_s(self) -> float:
        """Give the seconds that all devices together have computed; from any thread."""
        return self._devices.busy_s()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Give every metric in the format that a scraper's Accept header asks for, and its Content-Type.

        To be called from any thread but the event loop's: files and drivers are read for it.
        """
        return expose(self.registry, accept)

    def observe(self, event: events.Event) -> None:
        """Count `event`."""
        self._counting[type(event)](event)

    def _frame_received(self, _: events.FrameReceived) -> None:
        self._frames.received()
