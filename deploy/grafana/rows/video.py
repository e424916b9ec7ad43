"""Video: what live streams lose, and how old their results are."""

from deploy.grafana.panels import NUMBER, PER_S, SECONDS, SHARE, Look, Panel, Query, cloud, curves
from deploy.grafana.promql import mean, of, quantile, rate, total

_FRAMES = "nasfeat_frames_total"
_LOST = 'outcome=~"dropped|expired|rejected"'


def panels() -> list[Panel]:
    """Give the row's panels."""
    return [*_streams(), *_losses(), *_ages()]


def _streams() -> list[Panel]:
    return [
        curves(
            "Open streams by what they do under overload",
            "block waits; drop_oldest and latest_only lose frames, as they want; reject is told to come again.",
            Look(unit=NUMBER, stacked=True),
            Query(expr=total(of("nasfeat_streams"), "overload"), legend="{{overload}}"),
        ),
        curves(
            "Length of ended streams, mean",
            "Short ones are clients that reconnect all the time, or single pictures sent as streams.",
            Look(unit=SECONDS),
            Query(expr=mean("nasfeat_stream_seconds", "instance"), legend="{{instance}}"),
        ),
    ]


def _losses() -> list[Panel]:
    return [
        curves(
            "Frames lost by reason",
            "Superseded: a newer one took its place, as latest_only and drop_oldest want. DeadlinePassed: too "
            "late to be worth computing. Overloaded: refused.",
            Look(unit=PER_S, stacked=True, runbooks=("DropRateHigh",)),
            Query(expr=total(rate(of(_FRAMES, _LOST)), "reason"), legend="{{reason}}"),
        ),
        curves(
            "Frames lost, part of all",
            "A camera of 30 frames a second on a device that computes 10 loses two thirds: that is what "
            "latest_only is for. The line is the alert's.",
            Look(unit=SHARE, most=1, limits=((0.5, "orange"),), runbooks=("DropRateHigh",)),
            Query(
                expr=f"{total(rate(of(_FRAMES, _LOST)), 'instance')} / {total(rate(of(_FRAMES)), 'instance')}",
                legend="{{instance}}",
            ),
        ),
    ]


def _ages() -> list[Panel]:
    ages = of("nasfeat_result_age_seconds_bucket")
    return [
        curves(
            "Age of results",
            "From a frame's capture to its answer, where the client gave the time of capture: it compares the "
            "clocks of two machines. What comes out less than the time in the server is a clock that is off.",
            Look(unit=SECONDS, runbooks=("HighLatency", "DropRateHigh")),
            *(Query(expr=quantile(share, ages), legend=f"p{100 * share:.0f}") for share in (0.5, 0.9, 0.99)),
        ),
        cloud(
            "Age of results, spread",
            "How many results were how old when they were sent.",
            Look(unit=SECONDS, runbooks=("HighLatency",)),
            Query(expr=total(rate(ages), "le"), legend="{{le}}"),
        ),
    ]
