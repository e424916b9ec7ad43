"""The metrics of who may use the server, read from the running parts at each scrape."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantState:
    """What one tenant has done so far, and its open streams."""

    name: str
    frames: int
    throttled: int
    streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityState:
    """What there is to tell.

    Attributes:
        failures: refused calls by reason; None where no tokens are asked for.
        tenants: those that the file of tokens has now, which bounds their number.
        certificate_expiry: seconds since 1970; None without TLS.
    """

    failures: Mapping[str, int] | None
    tenants: Sequence[TenantState]
    certificate_expiry: float | None


class SecurityMetrics(Collector):
    """Makes samples of what `read` gives; it is called by the thread of the scrape."""

    def __init__(self, read: Callable[[], SecurityState]) -> None:
        """Read nothing yet."""
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Make the samples of a scrape."""
        state = self._read()
        if state.certificate_expiry is not None:
            yield GaugeMetricFamily(
                "nasfeat_certificate_expiry_timestamp_seconds",
                "When the server's certificate expires.",
                value=state.certificate_expiry,
            )
        if state.failures is None:
            return
        failures = CounterMetricFamily("nasfeat_auth_failures", "Calls refused for their token.", labels=("reason",))
        for reason, count in state.failures.items():
            failures.add_metric((reason,), count)
        yield failures
        yield from _of_tenants(state.tenants)


def _of_tenants(tenants: Sequence[TenantState]) -> Iterator[Metric]:
    label = ("tenant",)
    frames = CounterMetricFamily("nasfeat_tenant_frames", "Images that took a slot, by tenant.", labels=label)
    throttled = CounterMetricFamily(
        "nasfeat_tenant_throttled", "Images that waited, or were refused, for their tenant's rate.", labels=label
    )
    streams = GaugeMetricFamily("nasfeat_tenant_streams", "Open streams of each tenant.", labels=label)
    for tenant in tenants:
        frames.add_metric((tenant.name,), tenant.frames)
        throttled.add_metric((tenant.name,), tenant.throttled)
        streams.add_metric((tenant.name,), tenant.streams)
    yield from (frames, throttled, streams)
