"""Model: what is served, by which versions, how exactly, and what did not need computing."""

from deploy.grafana.panels import BYTES, PER_S, SHARE, Look, Panel, Query, curves, rows
from deploy.grafana.promql import of, of_device, rate, total


def panels() -> list[Panel]:
    """Give the row's panels."""
    return [*_versions(), *_precision(), *_savings()]


def _versions() -> list[Panel]:
    return [
        rows(
            "Models",
            "What is served now. Vectors compare only where name, digest, precision and preprocessing agree.",
            Look(span=12),
            Query(expr=of("nasfeat_model_info")),
        ),
        rows(
            "Programs",
            "Versions of the server; more than one while it is rolled out.",
            Look(span=12),
            Query(expr=of("nasfeat_build_info")),
        ),
        curves(
            "Images by label and outcome",
            "What each version made: compare canary with stable before it gets a larger share.",
            Look(unit=PER_S),
            Query(
                expr=total(rate(of("nasfeat_model_frames_total")), "label", "outcome"), legend="{{label}} {{outcome}}"
            ),
        ),
        curves(
            "Share of new calls by label",
            "What the operator set. A stream is one call, and keeps the version that it began with.",
            Look(unit=SHARE, most=1),
            Query(expr=of("nasfeat_model_share_ratio"), legend="{{instance}} {{label}}"),
        ),
        curves(
            "Reloads by outcome",
            "In the last hour. A version that fails to load leaves the old one serving.",
            Look(),
            Query(
                expr=f"sum by (outcome) (increase({of('nasfeat_reloads_total')}[1h]))",
                legend="{{outcome}}",
            ),
        ),
    ]


def _precision() -> list[Panel]:
    return [
        curves(
            "Precision: cosine to fp32",
            "Each replica compares its vectors of the operator's pictures to fp32's when it starts. Empty in fp32. "
            "The line is the alert's.",
            Look(
                unit="none",
                least=None,
                inverted=True,
                limits=((0.98, "green"),),
                runbooks=("PrecisionDrift",),
            ),
            Query(expr=of_device("nasfeat_precision_cosine"), legend="{{instance}} {{device}} {{statistic}}"),
        ),
    ]


def _savings() -> list[Panel]:
    lookups = "nasfeat_cache_lookups_total"
    hits = total(rate(of(lookups, 'result="hit"')), "instance")
    return [
        curves(
            "Results by where they come from",
            "computed: a device worked for this image. shared: the same image was on its way. cached: its "
            "result was kept.",
            Look(unit=PER_S, stacked=True),
            Query(expr=total(rate(of("nasfeat_results_total")), "source"), legend="{{source}}"),
        ),
        curves(
            "Cache hits, part of lookups",
            "Empty where no cache is configured.",
            Look(unit=SHARE, most=1),
            Query(expr=f"{hits} / {total(rate(of(lookups)), 'instance')}", legend="{{instance}}"),
        ),
        curves(
            "Cache",
            "What kept results take; bounded by the configuration.",
            Look(unit=BYTES),
            Query(expr=of("nasfeat_cache_bytes"), legend="{{instance}}"),
        ),
    ]
