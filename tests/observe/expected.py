"""What may have no data here, and why. A metric that has series after all is judged like any other."""

from collections.abc import Mapping
from types import MappingProxyType

_NO_GPU = "this machine has no NVIDIA GPU"
_NO_TLS = "the server runs without TLS"
_NO_TOKENS = "the server runs without tokens"

ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "ALERTS": "no alert is even pending",
        "nasfeat_precision_cosine": "the fake engine computes in fp32, where there is nothing to compare",
        "nasfeat_gpu_utilization_ratio": _NO_GPU,
        "nasfeat_gpu_memory_used_bytes": _NO_GPU,
        "nasfeat_gpu_memory_total_bytes": _NO_GPU,
        "nasfeat_gpu_power_watts": _NO_GPU,
        "nasfeat_certificate_expiry_timestamp_seconds": _NO_TLS,
        "nasfeat_auth_failures_total": _NO_TOKENS,
        "nasfeat_tenant_frames_total": _NO_TOKENS,
        "nasfeat_tenant_throttled_total": _NO_TOKENS,
        "nasfeat_tenant_streams": _NO_TOKENS,
    }
)
"""Metrics that may have no series."""

UNSEEN: Mapping[tuple[str, str, str], str] = MappingProxyType(
    {("ALERTS", "alertstate", "firing"): "no alert fires: each holds for longer than this load"}
)
"""Values that this load may not bring about: metric, label, value."""
