"""/status.json: what the page shows, made of what is counted anyway."""

import heapq
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nasfeat_server.config import RequestLimits, StatusPage
from nasfeat_server.rpc.control import ModelState
from nasfeat_server.rpc.live import LiveStream
from nasfeat_server.status.figures import BAR_BOUNDS_S, bars, quantile, since
from nasfeat_server.status.history import History, Look
from nasfeat_server.telemetry.figures import Counts, DeviceFigures, FrameFigures
from nasfeat_server.telemetry.recent import RecentRefusal

# However many look, and however often.
_PERIOD_S = 0.5
_MOST_STREAMS = 100
_RATES_S = 120.0
_QUANTILES = {"p50_s": 0.5, "p90_s": 0.9, "p99_s": 0.99}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the page reads; all of it from threads of the HTTP server, and a moment late.

    Attributes:
        version: the program's.
        page: how much of it is served.
        models: the versions of the model, those that retire too, with their streams.
        limits: what a request may ask for.
        frames: images since the start.
        devices: devices since the start.
        refusals: the last ones, the newest first.
        is_ready: health checks are told to send work here.
        is_stopping: no new work is taken.
    """

    version: str
    page: StatusPage
    models: Callable[[], Sequence[ModelState]]
    limits: RequestLimits
    frames: Callable[[], FrameFigures]
    devices: Callable[[], Sequence[DeviceFigures]]
    refusals: Callable[[], Sequence[RecentRefusal]]
    is_ready: Callable[[], bool]
    is_stopping: Callable[[], bool]


class Reports:
    """Makes reports for whoever asks.

    Args:
        sources: what they are made of.
        clock: the monotonic one.
    """

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._clock = clock
        self._started_at = clock()
        self._looking = threading.Lock()
        self._history = History(Look(at=self._started_at, frames=sources.frames(), devices=()))
        self._figures: Json = {}

    def make(self, tenant: str | None) -> Json:
        """Give everything that `tenant` may see, or everything there is, where there are no tenants.

        Others' streams and refusals are counted alone: a name that a client has chosen, and what its images were
        refused for, is nobody else's business.
        """
        with self._looking:
            now = self._clock()
            if not self._figures or now - self._history.last.at >= _PERIOD_S:
                self._look(now)
            figures = self._figures
        models = self._sources.models()
        return {
            "server": self._server(now, tenant, starting=not models),
            "models": [_model(model) for model in models],
            "queue": _queue(models),
            "streams": _streams(models, tenant, now),
            "refusals": _refusals(self._sources.refusals(), tenant, now),
            **figures,
        }

    def _look(self, now: float) -> None:
        sources = self._sources
        self._history.add(Look(at=now, frames=sources.frames(), devices=sources.devices()))
        base, last = self._history.base(), self._history.last
        window_s = last.at - base.at
        earlier = {device.device: device for device in base.devices}
        self._figures = {
            "frames": {"in_flight": last.frames.in_flight, "outcomes": dict(last.frames.outcomes)},
            "rates": [
                {"age_s": now - rate.at, "seconds": rate.seconds, "per_second": rate.per_second}
                for rate in self._history.rates(_RATES_S)
            ],
            "latency": {
                "window_s": window_s,
                "bounds_s": BAR_BOUNDS_S,
                "stages": {
                    stage: _latency(since(counts, base.frames.stages[stage]))
                    for stage, counts in last.frames.stages.items()
                },
            },
            "devices": [_device(device, earlier.get(device.device), window_s) for device in last.devices],
        }

    def _server(self, now: float, tenant: str | None, *, starting: bool) -> Json:
        sources = self._sources
        state = "ready" if sources.is_ready() else "not ready"
        if starting:
            state = "starting"
        return {
            "version": sources.version,
            "state": "stopping" if sources.is_stopping() else state,
            "uptime_s": now - self._started_at,
            "tenant": tenant,
            "can_try": sources.page is StatusPage.TRY,
            "max_image_bytes": sources.limits.max_image_bytes,
        }


def _latency(counts: Counts) -> Json:
    quantiles = {name: quantile(counts, part) for name, part in _QUANTILES.items()}
    return {"count": sum(counts.counts), **quantiles, "bars": bars(counts)}


def _device(device: DeviceFigures, before: DeviceFigures | None, window_s: float) -> Json:
    busy_s = device.busy_s - (before.busy_s if before else 0.0)
    batches = since(device.batches, before.batches) if before else device.batches
    return {
        "device": device.device,
        "is_up": device.is_up,
        "is_wanted": device.is_wanted,
        "is_quarantined": device.is_quarantined,
        # A batch counts when it is done, and so may two versions' replicas.
        "busy_ratio": min(1.0, busy_s / window_s) if window_s else 0.0,
        "batch_sizes": [[bound, count] for bound, count in zip(batches.bounds, batches.counts, strict=False) if count],
        "batch_limit": device.batch_limit,
        "restarts": device.restarts,
        "mean_cosine": device.mean_cosine,
        "memory_bytes": device.memory_bytes,
        "gpu": asdict(device.gpu) if device.gpu else None,
    }


def _model(model: ModelState) -> Json:
    served = model.served
    identity = served.model.identity
    return {
        "label": model.label,
        "share": model.share,
        "calls": served.calls.count,
        "name": identity.name,
        "version": identity.version,
        "weights_source": identity.weights_source,
        "weights_digest": identity.weights_digest,
        "is_trained": identity.trained,
        "precision": identity.precision,
        "image_height": served.model.image_height,
        "image_width": served.model.image_width,
        "feature_length": served.model.feature_length,
    }


def _queue(models: Sequence[ModelState]) -> Mapping[str, int]:
    paths = [model.served.path for model in models]
    return {
        "depth": sum(path.dispatcher.depth for path in paths),
        "waiting": sum(path.slots.waiting for path in paths),
        "slots_in_use": sum(path.slots.in_use for path in paths),
        "slots": sum(path.slots.capacity for path in paths),
    }


def _streams(models: Sequence[ModelState], tenant: str | None, now: float) -> Json:
    """Give the busiest streams, those that have been open longest first."""
    streams = [stream for model in models for stream in model.served.calls.streams]
    own = [stream for stream in streams if tenant is None or stream.owner == tenant]
    busiest = heapq.nlargest(_MOST_STREAMS, own, key=lambda stream: stream.rank)
    shown = sorted((stream.live() for stream in busiest), key=lambda live: live.opened_at)
    return {"total": len(streams), "own": len(own), "shown": [_stream(live, now) for live in shown]}


def _stream(stream: LiveStream, now: float) -> Json:
    return {
        "stream_id": stream.stream_id,
        "tenant": stream.tenant,
        "version": stream.version,
        "overload": stream.overload,
        "priority": stream.priority,
        "window": stream.window,
        "in_flight": stream.in_flight,
        "received": stream.received,
        "outcomes": dict(stream.outcomes),
        "age_s": max(0.0, now - stream.opened_at),
    }


def _refusals(refusals: Sequence[RecentRefusal], tenant: str | None, now: float) -> list[Json]:
    return [
        {
            "method": one.last.method,
            "reason": one.last.reason,
            "message": one.last.message,
            "stream_id": one.last.stream_id,
            "frame_id": one.last.frame_id,
            "tenant": one.last.tenant,
            "count": one.count,
            # One may have come since it was looked at the clock.
            "age_s": max(0.0, now - one.at),
        }
        for one in refusals
        if tenant is None or one.last.tenant == tenant
    ]
