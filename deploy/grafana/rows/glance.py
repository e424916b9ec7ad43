"""At a glance: is it well, how much does it do, which alerts fire?"""

from deploy.grafana.panels import PER_S, SECONDS, SHARE, Look, Panel, Query, number, rows
from deploy.grafana.promql import CHOSEN_JOB, of, quantile, rate, total

_ANSWERED = 'outcome!~"cancelled|dropped|invalid"'
_FAILED = 'outcome=~"error|rejected|expired"'
_UP = ((0.5, "orange"), (1.0, "green"))


def panels() -> list[Panel]:
    """Give the row's panels."""
    frames = "nasfeat_frames_total"
    failed = f"({total(rate(of(frames, _FAILED)))} or vector(0))"
    return [
        number(
            "Servers ready",
            "Part of the chosen servers whose health check says SERVING.",
            Look(span=4, unit=SHARE, limits=_UP, inverted=True, runbooks=("NotReady",)),
            Query(expr=f"avg({of('nasfeat_ready')})"),
        ),
        number(
            "Images answered",
            "Images that came to their end in a second, whatever it was.",
            Look(span=4, unit=PER_S),
            Query(expr=total(rate(of(frames)))),
        ),
        number(
            "Failed",
            "Part of the images that wanted features and got none through no fault of theirs: error, rejected, "
            "expired. The objective allows 0.1 %.",
            Look(span=4, unit=SHARE, limits=((0.001, "orange"), (0.01, "red")), runbooks=("ErrorBudgetBurn",)),
            Query(expr=f"{failed} / {total(rate(of(frames, _ANSWERED)))}"),
        ),
        number(
            "Wait for a device, p99",
            "99 of 100 images wait less for a replica.",
            Look(span=4, unit=SECONDS, limits=((1, "orange"), (5, "red")), runbooks=("HighLatency", "QueueSaturated")),
            Query(expr=quantile(0.99, of("nasfeat_stage_seconds_bucket", 'stage="queue"'))),
        ),
        number(
            "Devices up",
            "Part of the devices whose replica takes work, of those that the load needs.",
            Look(span=4, unit=SHARE, limits=_UP, inverted=True, runbooks=("ReplicaRestarting",)),
            Query(expr=f"avg({of('nasfeat_replica_up')} and {of('nasfeat_replica_wanted')} == 1)"),
        ),
        number("Open streams", "Streams that are open now.", Look(span=4), Query(expr=total(of("nasfeat_streams")))),
        rows(
            "Alerts that fire",
            "Those of the rules in deploy/prometheus/rules, by name; empty when all is well. Each has a runbook page.",
            Look(span=24, runbooks=("README",)),
            # Of the job: what is said of all its servers together has no instance.
            Query(expr=f'ALERTS{{alertstate="firing", {CHOSEN_JOB}}}'),
        ),
    ]
