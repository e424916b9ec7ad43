"""Native histograms: the same values to 9 %, where Prometheus is told to scrape them."""

from deploy.grafana.panels import SECONDS, Look, Panel, Query, cloud, curves
from deploy.grafana.promql import native_quantile, of, rate, total

_EMPTY = "Empty unless Prometheus scrapes native histograms."
_STAGES = "nasfeat_stage_seconds"


def panels() -> list[Panel]:
    """Give the row's panels."""
    return [*_stages(), *_ends()]


def _stages() -> list[Panel]:
    slow = Look(unit=SECONDS, runbooks=("HighLatency",))
    quantiles = [
        curves(
            f"Time in each stage, p{100 * share:.0f}, native",
            f"As in the row of requests, read from buckets that are each 9 % wider than the one before. {_EMPTY}",
            slow,
            Query(expr=native_quantile(share, of(_STAGES), "stage"), legend="{{stage}}"),
        )
        for share in (0.5, 0.99)
    ]
    return [
        *quantiles,
        cloud(
            "Time in the queue, spread, native",
            f"How many images waited how long for a device. {_EMPTY}",
            slow,
            Query(expr=total(rate(of(_STAGES, 'stage="queue"')))),
        ),
    ]


def _ends() -> list[Panel]:
    return [
        curves(
            "Age of results, native",
            f"From a frame's capture to its answer. {_EMPTY}",
            Look(unit=SECONDS, runbooks=("HighLatency", "DropRateHigh")),
            *(
                Query(expr=native_quantile(share, of("nasfeat_result_age_seconds")), legend=f"p{100 * share:.0f}")
                for share in (0.5, 0.99)
            ),
        ),
        curves(
            "Calls, native",
            f"The time of calls by method; a stream is one call. {_EMPTY}",
            Look(unit=SECONDS, runbooks=("HighLatency",)),
            Query(
                expr=native_quantile(0.99, of("grpc_server_call_duration_seconds"), "grpc_method"),
                legend="{{grpc_method}} p99",
            ),
        ),
    ]
