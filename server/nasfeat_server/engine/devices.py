"""Which devices there are, and which part of the machine each replica gets."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nasfeat_server.engine.cores import Cores
from nasfeat_server.errors import ConfigurationError

_DEVICE = re.compile(r"(cpu|gpu):(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where one replica runs.

    Attributes:
        device: "cpu:N" or "gpu:N".
        cores: the CPU cores its process is pinned to; empty for a GPU's, which may use any.
        threads: how many compute, if there is not the time for as many as it has cores; else 0.
    """

    device: str
    cores: tuple[int, ...]
    threads: int = 0

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that make the process see this device and no other."""
        kind, number = self.device.split(":")
        if kind == "cpu":
            return {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
        return {
            # CUDA's own order puts the fastest first; so gpu:N is the one that nvidia-smi and the driver call N.
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": number,
            # JAX would take three quarters of the memory at once, and be told of none that is missing.
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }


def available_devices() -> tuple[str, ...]:
    """Name every GPU of this machine, or its CPU if there is none."""
    gpus = sorted(int(path.name.removeprefix("nvidia")) for path in Path("/dev").glob("nvidia[0-9]*"))
    return tuple(f"gpu:{number}" for number in gpus) or ("cpu:0",)


def place(devices: Sequence[str], cores: Cores) -> tuple[Placement, ...]:
    """Give each device its replica; the CPU replicas share the cores evenly, without overlap.

    Where a limit leaves less time than the cores have, it is the threads that are fewer; the replicas share all of the
    cores as ever. Which of these are idle the system knows, and not a process that sees no other container: if each
    kept to as many cores as it has the time of, all of a machine would meet on the first few.

    Raises:
        ConfigurationError: a name is not a device's, is given twice, or there are more CPU replicas than cores.
    """
    for device in devices:
        if not _DEVICE.fullmatch(device):
            raise ConfigurationError(f"device {device!r} is not of the form cpu:N or gpu:N")
    if len(set(devices)) != len(devices) or not devices:
        raise ConfigurationError(f"devices must be one or more different names, not {','.join(devices) or 'none'}")
    cpu_count = sum(device.startswith("cpu:") for device in devices)
    if cpu_count > len(cores.numbers):
        raise ConfigurationError(
            f"{cpu_count} CPU replicas need as many cores; this process may use {len(cores.numbers)}"
        )
    parts = iter(_split(cores.numbers, cpu_count))
    threads = max(1, cores.count // max(cpu_count, 1)) if cores.limited else 0
    return tuple(
        Placement(device=device, cores=next(parts), threads=threads)
        if device.startswith("cpu:")
        else Placement(device=device, cores=(), threads=cores.threads)
        for device in devices
    )


def _split(cores: Sequence[int], parts: int) -> list[tuple[int, ...]]:
    bounds = [index * len(cores) // max(parts, 1) for index in range(parts + 1)]
    return [tuple(cores[low:high]) for low, high in itertools.pairwise(bounds)]
