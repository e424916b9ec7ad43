"""RED: the rate of requests and images, their errors, how long they take."""

from deploy.grafana.panels import BYTES_PER_S, CALLS_PER_S, PER_S, SECONDS, SHARE, Look, Panel, Query, cloud, curves
from deploy.grafana.promql import mean, of, quantile, rate, total

_CALLS = "nasfeat_requests_total"
_FRAMES = "nasfeat_frames_total"
_STAGES = "nasfeat_stage_seconds"
_UNARY = 'grpc_method!~".*/(StreamFeatures|Watch|ServerReflectionInfo)"'


def panels() -> list[Panel]:
    """Give the row's panels."""
    return [*_rates(), *_errors(), *_stages(), *_calls()]


def _rates() -> list[Panel]:
    return [
        curves(
            "Calls by method and code",
            "gRPC calls that ended. A stream is one call, and ends when it is closed.",
            Look(unit=CALLS_PER_S, stacked=True),
            Query(expr=total(rate(of(_CALLS)), "method", "code"), legend="{{method}} {{code}}"),
        ),
        curves(
            "Images by outcome",
            "Images that came to their end, of streams and calls alike. dropped: a newer frame took its place. "
            "rejected: no room. expired: its deadline passed. invalid: it could not be decoded.",
            Look(unit=PER_S, stacked=True),
            Query(expr=total(rate(of(_FRAMES)), "outcome"), legend="{{outcome}}"),
        ),
    ]


def _errors() -> list[Panel]:
    failed = of(_FRAMES, 'outcome=~"error|rejected|expired"')
    answered = of(_FRAMES, 'outcome!~"cancelled|dropped|invalid"')
    return [
        curves(
            "Failed, part of the images",
            "What uses up the error budget: error, rejected and expired, of all images but those that their clients "
            "gave up, let drop or spoiled. The lines: 0.1 %, the objective, and 1.44 %, which would use a "
            "month's budget in two days.",
            Look(unit=SHARE, limits=((0.001, "orange"), (0.0144, "red")), runbooks=("ErrorBudgetBurn",)),
            Query(
                expr=f"{total(rate(failed), 'outcome')} / ignoring (outcome) group_left () {total(rate(answered))}",
                legend="{{outcome}}",
            ),
        ),
        curves(
            "Images without features by reason",
            "Every way in which an image came to nothing; the reason is the name of the error in the result.",
            Look(unit=PER_S, stacked=True, runbooks=("ErrorBudgetBurn", "InvalidInputSpike")),
            Query(
                expr=total(rate(of(_FRAMES, 'outcome!="ok"')), "outcome", "reason"),
                legend="{{outcome}} {{reason}}",
            ),
        ),
        curves(
            "Calls that failed by code",
            "Calls that ended with another status than OK. A cancelled stream is its client's will.",
            Look(unit=CALLS_PER_S, stacked=True, runbooks=("ErrorBudgetBurn", "NotReady")),
            Query(expr=total(rate(of(_CALLS, 'code!="OK"')), "method", "code"), legend="{{method}} {{code}}"),
        ),
    ]


def _stages() -> list[Panel]:
    buckets = of(f"{_STAGES}_bucket")
    quantiles = [
        curves(
            f"Time in each stage, p{100 * share:.0f}",
            f"{100 * share:.0f} of 100 images were faster in that stage. receive waits for room, queue for a "
            "device, reply for frames before it and for the reader. Estimated from the buckets of a histogram.",
            Look(unit=SECONDS, runbooks=("HighLatency",)),
            Query(expr=quantile(share, buckets, "stage"), legend="{{stage}}"),
        )
        for share in (0.5, 0.9, 0.99)
    ]
    return [
        *quantiles,
        curves(
            "Where the time of an image goes, mean",
            "Mean time in each stage, exact; together the time that an image spends in the server.",
            Look(unit=SECONDS, stacked=True, runbooks=("HighLatency",)),
            Query(expr=mean(_STAGES, "stage"), legend="{{stage}}"),
        ),
        cloud(
            "Time in the queue, spread",
            "How many images waited how long for a device: two bands tell two kinds of streams.",
            Look(unit=SECONDS, runbooks=("HighLatency",)),
            Query(expr=total(rate(of(f"{_STAGES}_bucket", 'stage="queue"')), "le"), legend="{{le}}"),
        ),
        cloud(
            "Time on the device, spread",
            "How long images were with a device, with the hand-over to it.",
            Look(unit=SECONDS, runbooks=("HighLatency",)),
            Query(expr=total(rate(of(f"{_STAGES}_bucket", 'stage="execute"')), "le"), legend="{{le}}"),
        ),
    ]


def _calls() -> list[Panel]:
    unary = of("grpc_server_call_duration_seconds_bucket", _UNARY)
    return [
        curves(
            "Unary calls, time",
            "From the call's arrival to its status, as gRPC's own metrics (A66) tell it; streams are left out.",
            Look(unit=SECONDS, runbooks=("HighLatency",)),
            *(
                Query(expr=quantile(share, unary, "grpc_method"), legend=f"{{{{grpc_method}}}} p{100 * share:.0f}")
                for share in (0.5, 0.9, 0.99)
            ),
        ),
        curves(
            "Calls started and ended",
            "A66's names. What is started and does not end are open streams, or calls that hang.",
            Look(unit=CALLS_PER_S),
            Query(
                expr=total(rate(of("grpc_server_call_started_total")), "grpc_method"), legend="{{grpc_method}} started"
            ),
            Query(
                expr=total(rate(of("grpc_server_call_duration_seconds_count")), "grpc_method"),
                legend="{{grpc_method}} ended",
            ),
        ),
        curves(
            "Bytes of ended calls",
            "Messages of calls as they lay on the wire, counted when the call ends: a stream's all at once.",
            Look(unit=BYTES_PER_S),
            Query(
                expr=total(rate(of("grpc_server_call_rcvd_total_compressed_message_size_bytes_sum"))), legend="received"
            ),
            Query(expr=total(rate(of("grpc_server_call_sent_total_compressed_message_size_bytes_sum"))), legend="sent"),
        ),
    ]
