"""What NVIDIA's driver tells of GPUs, where there is one and its library is installed."""

import importlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

_log = logging.getLogger(__name__)


class Nvml(Protocol):
    """The part of the module `pynvml` that is used; the driver's names."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None:  # noqa: N802
        """Find the driver."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        """Give the GPU that nvidia-smi shows under `index`."""

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:  # noqa: N802
        """Give `gpu`: the percentage of the last moments in which it computed."""

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        """Give `used` and `total`, in bytes."""

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:  # noqa: N802
        """Give milliwatts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One look at a GPU; what the driver does not tell is None.

    Attributes:
        utilization: part of the last moments in which it computed, from 0 to 1.
        memory_used: bytes, of all processes.
        memory_total: bytes.
        power_watts: what it draws now.
    """

    utilization: float | None
    memory_used: float | None
    memory_total: float | None
    power_watts: float | None


def load() -> Nvml:
    """Load the library.

    Raises:
        ImportError: it is not installed.
    """
    module: Nvml = importlib.import_module("pynvml")
    return module


class GpuReader:
    """Reads GPUs from any thread; without library or driver it finds none, for good."""

    def __init__(self, load: Callable[[], Nvml] = load) -> None:
        """Take the library from `load`, when it is first needed."""
        self._load = load
        self._lock = threading.Lock()
        self._tried = False
        self._nvml: Nvml | None = None

    def read(self, number: int) -> GpuReading | None:
        """Look at the GPU that is called "gpu:`number`"; None if there is none, or nobody to ask."""
        nvml = self._driver()
        if nvml is None:
            return None
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
        except nvml.NVMLError:
            return None
        memory = _told(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = _told(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
        power = _told(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
        return GpuReading(
            utilization=None if rates is None else rates.gpu / 100,
            memory_used=None if memory is None else memory.used,
            memory_total=None if memory is None else memory.total,
            power_watts=None if power is None else power / 1000,
        )

    def _driver(self) -> Nvml | None:
        with self._lock:
            if not self._tried:
                self._tried = True
                self._nvml = self._found()
        return self._nvml

    def _found(self) -> Nvml | None:
        try:
            nvml = self._load()
        except ImportError as error:
            _log.debug("no metrics of GPUs: %s", error)
            return None
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            _log.debug("no metrics of GPUs: %s", error)
            return None
        return nvml


def _told(nvml: Nvml, ask: Callable[[Any], Any], handle: Any) -> Any:
    """Ask, and take None for what this GPU does not support."""
    try:
        return ask(handle)
    except nvml.NVMLError:
        return None
