"""The metrics of GPUs, read from their driver at each scrape."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nasfeat_server.telemetry.nvml import GpuReader


class GpuMetrics(Collector):
    """Shows the GPUs among the devices; without driver or library none of them has a series."""

    def __init__(self, devices: Sequence[str], reader: GpuReader) -> None:
        """Show those of `devices` that are GPUs."""
        self._gpus = {device: int(device[4:]) for device in devices if device.startswith("gpu:")}
        self._reader = reader

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        by = ("device",)
        utilization = GaugeMetricFamily(
            "nasfeat_gpu_utilization_ratio", "Part of the last moments in which the GPU computed.", labels=by
        )
        used = GaugeMetricFamily("nasfeat_gpu_memory_used_bytes", "The GPU's memory in use by anyone.", labels=by)
        total = GaugeMetricFamily("nasfeat_gpu_memory_total_bytes", "The GPU's memory.", labels=by)
        power = GaugeMetricFamily("nasfeat_gpu_power_watts", "What the GPU draws.", labels=by)
        for device, number in self._gpus.items():
            reading = self._reader.read(number)
            if reading is None:
                continue
            for family, value in (
                (utilization, reading.utilization),
                (used, reading.memory_used),
                (total, reading.memory_total),
                (power, reading.power_watts),
            ):
                if value is not None:
                    family.add_metric((device,), value)
        yield from (utilization, used, total, power)
