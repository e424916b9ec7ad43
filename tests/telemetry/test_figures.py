"""What has been counted, as plain values."""

import dataclasses
from collections.abc import Sequence

import pytest

from nasfeat_server.telemetry import events
from nasfeat_server.telemetry.figures import DeviceFigures
from nasfeat_server.telemetry.nvml import GpuReader, GpuReading
from nasfeat_server.telemetry.prometheus import PrometheusObserver

_READING = GpuReading(utilization=0.5, memory_used=1.0, memory_total=2.0, power_watts=3.0)


class _Gpu(GpuReader):
    """A machine with every GPU that it is asked for."""

    def read(self, number: int) -> GpuReading:
        """Look at it."""
        return dataclasses.replace(_READING, memory_used=float(number))


@pytest.fixture
def observer() -> PrometheusObserver:
    """One that watches two devices of which one is warm."""
    made = PrometheusObserver(_Gpu())
    made.watch(
        devices=("cpu:0", "gpu:1"),
        is_warm=lambda device: device == "gpu:1",
        is_wanted=lambda device: device == "gpu:1",
        is_ready=lambda: True,
        capacity=lambda: 0,
        depth=lambda: 0,
        slots_in_use=lambda: 0,
        cache_bytes=lambda: 0,
    )
    return made


def _tell(observer: PrometheusObserver, *told: events.Event) -> Sequence[DeviceFigures]:
    for event in told:
        observer.observe(event)
    return observer.devices()


def test_devices_are_there_from_the_start(observer: PrometheusObserver) -> None:
    """With nothing done; of a GPU the driver is asked."""
    cpu, gpu = observer.devices()
    assert (cpu.device, cpu.is_up, cpu.busy_s, cpu.batch_limit, cpu.gpu) == ("cpu:0", False, 0.0, None, None)
    assert (cpu.is_wanted, gpu.is_wanted) == (False, True)
    assert (gpu.device, gpu.is_up, gpu.gpu) == ("gpu:1", True, dataclasses.replace(_READING, memory_used=1.0))


def test_work_and_trouble_are_told_of_the_device_that_had_them(observer: PrometheusObserver) -> None:
    """Batches, deaths of each cause, and that it is left alone until a replica is ready again."""
    batch = events.BatchFinished(device="cpu:0", size=4, limit=4, close_reason="full", busy_s=0.5)
    died = [events.ReplicaDied(device="cpu:0", cause=cause) for cause in ("killed", "hung", "hung")]
    left_alone = events.ReplicaQuarantined(device="cpu:0", pause_s=1.0)
    limit = events.BatchLimitChanged(device="cpu:0", limit=2)
    cpu, gpu = _tell(observer, batch, batch, *died, left_alone, limit)
    assert (cpu.busy_s, sum(cpu.batches.counts), cpu.restarts, cpu.batch_limit) == (1.0, 2, 3, 2)
    assert cpu.is_quarantined
    assert (gpu.busy_s, gpu.batches.counts, gpu.restarts) == (0.0, (), 0)
    ready = events.ReplicaReady(device="cpu:0", start_s=1.0, mean_cosine=0.99, min_cosine=0.9)
    cpu, _ = _tell(observer, ready)
    assert (cpu.is_quarantined, cpu.mean_cosine) == (False, 0.99)
    cpu, _ = _tell(observer, left_alone, events.ReplicaParked(device="cpu:0"))
    assert (cpu.is_quarantined, cpu.restarts) == (False, 3)


def test_images_are_told_by_how_they_ended(observer: PrometheusObserver) -> None:
    """Whatever version of the model had them, and for whatever reason; the others are in flight."""
    for _ in range(4):
        observer.observe(events.FrameReceived())
    for outcome, label in (("ok", "stable"), ("ok", "canary"), ("invalid", "stable")):
        stages_s = {events.Stage.DECODE: 0.1}
        observer.observe(
            events.FrameFinished(
                outcome=events.Outcome(outcome), reason="", stages_s=stages_s, label=events.ModelLabel(label)
            )
        )
    figures = observer.frames()
    assert (figures.in_flight, *(figures.outcomes[events.Outcome(name)] for name in ("ok", "invalid", "error"))) == (
        *(1, 2),
        *(1, 0),
    )
    assert sum(figures.stages[events.Stage.DECODE].counts) == 3
