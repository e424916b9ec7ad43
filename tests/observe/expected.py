"""What may have no data here, and why. A metric that has series after all is judged like any other."""

from collections.abc import Mapping
from types import MappingProxyType

_NO_GPU = "this machine has no NVIDIA GPU"

NATIVE = frozenset(("nasfeat_stage_seconds", "nasfeat_result_age_seconds", "grpc_server_call_duration_seconds"))
"""Histograms by the names that they have as native ones; asked of a Prometheus that scrapes them so."""

ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "ALERTS": "no alert is even pending",
        "nasfeat_precision_cosine": "the fake engine computes in fp32, where there is nothing to compare",
        "nasfeat_gpu_utilization_ratio": _NO_GPU,
        "nasfeat_gpu_memory_used_bytes": _NO_GPU,
        "nasfeat_gpu_memory_total_bytes": _NO_GPU,
        "nasfeat_gpu_power_watts": _NO_GPU,
    }
)
"""Metrics that may have no series."""

UNSEEN: Mapping[tuple[str, str, str], str] = MappingProxyType(
    {("ALERTS", "alertstate", "firing"): "no alert fires: each holds for longer than this load"}
)
"""Values that this load may not bring about: metric, label, value."""
