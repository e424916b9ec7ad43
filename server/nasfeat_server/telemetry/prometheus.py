"""Every metric of the server: with `frame_metrics`, the one place that knows their names and turns events into them."""

import functools
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from nasfeat_server.config import Endpoint
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.telemetry import events
from nasfeat_server.telemetry.frame_metrics import FrameMetrics
from nasfeat_server.telemetry.model_metrics import ModelMetrics

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_STREAM_BUCKETS_S = (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600)


class PrometheusObserver:
    """Turns events into metrics of its own registry.

    Labels are bounded: methods, statuses, outcomes, reasons, stages and devices; never a stream or a frame.
    """

    def __init__(self) -> None:
        """Register every metric, at zero."""
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._frames = FrameMetrics()
        registry.register(self._frames)
        self._models = ModelMetrics()
        registry.register(self._models)
        self._requests = Counter(
            "nasfeat_requests", "Calls by method and gRPC status.", ("method", "code"), registry=registry
        )
        self._streams = Gauge("nasfeat_streams", "Open streams.", registry=registry)
        self._stream_seconds = Histogram(
            "nasfeat_stream_seconds", "Length of ended streams.", buckets=_STREAM_BUCKETS_S, registry=registry
        )
        self._register_devices(registry)
        # `functools.singledispatchmethod` costs as much as the counting itself.
        self._counting: Mapping[type[events.Event], Callable[[Any], None]] = {
            events.FrameReceived: self._frame_received,
            events.FrameFinished: self._frames.finished,
            events.RequestFinished: self._request_finished,
            events.StreamOpened: self._stream_opened,
            events.StreamClosed: self._stream_closed,
            events.BatchFinished: self._batch_finished,
            events.BatchLimitChanged: self._batch_limit_changed,
            events.ReplicaReady: self._replica_ready,
            events.ReplicaDied: self._replica_died,
            events.ReplicaQuarantined: self._replica_quarantined,
            events.ModelsChanged: self._models.changed,
            events.ReloadFinished: self._models.reloaded,
        }
        build = Info("nasfeat_build", "This program.", registry=registry)
        build.info({"version": version("nasfeat"), "python": platform.python_version()})

    def _register_devices(self, registry: CollectorRegistry) -> None:
        device = ("device",)
        self._batch_size = Histogram(
            "nasfeat_batch_size", "Images in a batch.", device, buckets=_BATCH_BUCKETS, registry=registry
        )
        self._batch_limit = Gauge(
            "nasfeat_batch_limit", "Largest batch now; smaller after out of memory.", device, registry=registry
        )
        self._batches = Counter(
            "nasfeat_batches", "Batches by why they were closed.", ("device", "close_reason"), registry=registry
        )
        self._busy = Counter("nasfeat_device_busy_seconds", "Time a device computed.", device, registry=registry)
        self._up = Gauge("nasfeat_replica_up", "1 while the device's replica takes work.", device, registry=registry)
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

    def watch(
        self,
        *,
        devices: tuple[str, ...],
        is_warm: Callable[[str], bool],
        capacity: Callable[[], int],
        depth: Callable[[], int],
        slots_in_use: Callable[[], int],
        cache_bytes: Callable[[], float],
    ) -> None:
        """Read gauges from the running parts at each scrape, and show every device from the start."""
        for device in devices:
            self._up.labels(device).set_function(functools.partial(is_warm, device))
            self._quarantined.labels(device).set(0)
            self._busy.labels(device)
        queue = Gauge("nasfeat_queue_depth", "Images that wait for a replica.", registry=self.registry)
        queue.set_function(depth)
        limit = Gauge("nasfeat_queue_capacity", "Slots of the arena, which bound the queue.", registry=self.registry)
        limit.set_function(capacity)
        used = Gauge("nasfeat_slots_in_use", "Slots of the arena that hold an image.", registry=self.registry)
        used.set_function(slots_in_use)
        cached = Gauge("nasfeat_cache_bytes", "Results kept for images that come again.", registry=self.registry)
        cached.set_function(cache_bytes)

    def observe(self, event: events.Event) -> None:
        """Count `event`."""
        self._counting[type(event)](event)

    def _frame_received(self, _: events.FrameReceived) -> None:
        self._frames.received()

    def _request_finished(self, event: events.RequestFinished) -> None:
        self._requests.labels(event.method, event.code).inc()

    def _stream_opened(self, _: events.StreamOpened) -> None:
        self._streams.inc()

    def _stream_closed(self, event: events.StreamClosed) -> None:
        self._streams.dec()
        self._stream_seconds.observe(event.duration_s)

    def _batch_finished(self, event: events.BatchFinished) -> None:
        self._batch_size.labels(event.device).observe(event.size)
        self._batches.labels(event.device, event.close_reason).inc()
        self._busy.labels(event.device).inc(event.busy_s)

    def _batch_limit_changed(self, event: events.BatchLimitChanged) -> None:
        self._batch_limit.labels(event.device).set(event.limit)

    def _replica_ready(self, event: events.ReplicaReady) -> None:
        self._quarantined.labels(event.device).set(0)
        self._start_seconds.labels(event.device).set(event.start_s)
        if event.mean_cosine is not None and event.min_cosine is not None:
            self._cosine.labels(event.device, "mean").set(event.mean_cosine)
            self._cosine.labels(event.device, "min").set(event.min_cosine)

    def _replica_died(self, event: events.ReplicaDied) -> None:
        self._restarts.labels(event.device, event.cause).inc()

    def _replica_quarantined(self, event: events.ReplicaQuarantined) -> None:
        self._quarantined.labels(event.device).set(1)


class MetricsServer:
    """Serves a registry over HTTP while its context is open."""

    def __init__(self, endpoint: Endpoint, registry: CollectorRegistry) -> None:
        """Keep where and what; entering the context listens."""
        self._endpoint = endpoint
        self._registry = registry

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        try:
            self._server, self._thread = start_http_server(
                self._endpoint.port, self._endpoint.host, registry=self._registry
            )
        except OSError as error:
            raise ConfigurationError(f"cannot serve metrics on {self._endpoint}: {error}") from error
        self.endpoint = Endpoint(host=self._endpoint.host, port=self._server.server_port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
