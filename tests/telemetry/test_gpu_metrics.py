"""GPUs as their driver shows them, and servers on machines without one."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from nasfeat_server.telemetry import nvml
from nasfeat_server.telemetry.gpu_metrics import GpuMetrics
from nasfeat_server.telemetry.nvml import GpuReader


class _NvmlError(Exception):
    """What the library raises for everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gpu:
    """One GPU of a machine; what it does not tell is None."""

    percent: int = 0
    used: int = 0
    total: int = 0
    milliwatts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    used: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rates:
    gpu: int


class _FakeNvml:
    """The library over a machine of the test's making."""

    NVMLError: type[Exception] = _NvmlError

    def __init__(self, gpus: Mapping[int, _Gpu], *, has_driver: bool = True) -> None:
        self.gpus = dict(gpus)
        self.inits = 0
        self._has_driver = has_driver

    def nvmlInit(self) -> None:  # noqa: N802
        """Find the driver, or not."""
        self.inits += 1
        if not self._has_driver:
            raise _NvmlError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        """Find a GPU."""
        if index not in self.gpus:
            raise _NvmlError("Invalid Argument")
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> _Rates:  # noqa: N802
        """Tell how busy it is."""
        return _Rates(gpu=self.gpus[handle].percent)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> _Memory:  # noqa: N802
        """Tell how full it is."""
        return _Memory(used=self.gpus[handle].used, total=self.gpus[handle].total)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        """Tell what it draws."""
        power = self.gpus[handle].milliwatts
        if power is None:
            raise _NvmlError("Not Supported")
        return power


def _registry(devices: tuple[str, ...], reader: GpuReader) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(GpuMetrics(devices, reader))
    return registry


def _values(registry: CollectorRegistry, device: str) -> dict[str, float]:
    return {
        sample.name.removeprefix("nasfeat_gpu_"): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.labels == {"device": device}
    }


def test_each_gpu_among_the_devices_is_shown_by_its_own_number() -> None:
    """gpu:2 is the driver's number 2, in base units; number 0 is not a device, and cpu:0 is no GPU."""
    library = _FakeNvml({0: _Gpu(percent=1), 2: _Gpu(percent=40, used=3, total=4, milliwatts=250_500)})
    registry = _registry(("cpu:0", "gpu:2"), GpuReader(lambda: library))
    expected = {"utilization_ratio": 0.4, "memory_used_bytes": 3, "memory_total_bytes": 4, "power_watts": 250.5}
    assert _values(registry, "gpu:2") == expected
    assert not _values(registry, "gpu:0")
    assert not _values(registry, "cpu:0")
    library.gpus[2] = _Gpu(percent=90, used=4, total=4, milliwatts=1000)
    assert _values(registry, "gpu:2")["utilization_ratio"] == 0.9
    assert library.inits == 1


def test_what_a_gpu_does_not_tell_is_absent() -> None:
    """One without a power sensor has its other metrics."""
    reader = GpuReader(lambda: _FakeNvml({0: _Gpu(percent=50, used=1, total=2)}))
    assert _values(_registry(("gpu:0",), reader), "gpu:0").keys() == {
        "utilization_ratio",
        "memory_used_bytes",
        "memory_total_bytes",
    }


def test_a_gpu_that_falls_off_the_bus_is_absent_until_it_is_back() -> None:
    """A scrape meanwhile has the others."""
    library = _FakeNvml({0: _Gpu(), 1: _Gpu()})
    registry = _registry(("gpu:0", "gpu:1"), GpuReader(lambda: library))
    lost = library.gpus.pop(0)
    assert not _values(registry, "gpu:0")
    assert _values(registry, "gpu:1")
    library.gpus[0] = lost
    assert _values(registry, "gpu:0")


def test_without_a_driver_there_is_nothing_but_one_line_for_those_who_look(caplog: pytest.LogCaptureFixture) -> None:
    """At debug level, once, however often is scraped."""
    caplog.set_level(logging.DEBUG)
    library = _FakeNvml({0: _Gpu()}, has_driver=False)
    registry = _registry(("gpu:0",), GpuReader(lambda: library))
    for _ in range(3):
        assert not _values(registry, "gpu:0")
    assert library.inits == 1
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "no metrics of GPUs: Driver Not Loaded")
    ]


def test_without_the_library_it_is_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """It is not needed for anything else."""
    caplog.set_level(logging.DEBUG)

    def load() -> nvml.Nvml:
        raise ModuleNotFoundError("No module named 'pynvml'")

    registry = _registry(("gpu:0",), GpuReader(load))
    for _ in range(2):
        assert not _values(registry, "gpu:0")
    assert [record.getMessage() for record in caplog.records] == ["no metrics of GPUs: No module named 'pynvml'"]


def test_a_server_without_gpus_never_loads_the_library() -> None:
    """Nothing is asked of a driver that nobody needs."""

    def load() -> nvml.Nvml:
        raise AssertionError("it was loaded")

    assert not _values(_registry(("cpu:0", "cpu:1"), GpuReader(load)), "cpu:0")


def test_the_real_library_has_what_is_asked_of_it() -> None:
    """The names of the fake are those of the installed one."""
    library = nvml.load()
    assert issubclass(library.NVMLError, Exception)
    names = [name for name in vars(_FakeNvml) if name.startswith("nvml")]
    assert len(names) == 5
    assert all(callable(getattr(library, name)) for name in names)
