"""The kinds of panel, each with a description, a unit and, where there is one, the page that says what to do."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
PER_S = "cps"
CALLS_PER_S = "reqps"
SECONDS = "s"
SHARE = "percentunit"
BYTES = "bytes"
BYTES_PER_S = "binBps"
NUMBER = "short"

Panel = Builder[models.Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What one curve or several of a panel show.

    Attributes:
        expr: PromQL.
        legend: the name of a curve, with `{{label}}`s.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a panel looks.

    Attributes:
        span: of the dashboard's 24 columns.
        unit: Grafana's name of it.
        limits: value and colour of each threshold, ascending; green below the first.
        inverted: red below the first limit, and better upwards.
        runbooks: alerts whose pages the panel links to.
        stacked: curves stand on each other.
        least: where the axis begins; None leaves it to the values.
        most: the axis reaches up to this, at least.
    """

    span: int = 8
    unit: str = NUMBER
    limits: tuple[tuple[float, str], ...] = ()
    inverted: bool = False
    runbooks: tuple[str, ...] = ()
    stacked: bool = False
    least: float | None = 0
    most: float | None = None


def curves(title: str, description: str, look: Look, *queries: Query) -> Panel:
    """Draw values over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .links(_links(look))
        .span(look.span)
        .height(8)
        .unit(look.unit)
        .line_width(1)
        .fill_opacity(25 if look.stacked else 8)
        .show_points(common_models.VisibilityMode.NEVER)
        .thresholds(_thresholds(look))
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if look.stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if look.limits:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED))
    if look.least is not None:
        panel.min(look.least)
    if look.most is not None:
        panel.axis_soft_max(look.most)
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def number(title: str, description: str, look: Look, query: Query) -> Panel:
    """Show the newest value, large, in the colour of its threshold."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .links(_links(look))
        .span(look.span)
        .height(4)
        .unit(look.unit)
        .thresholds(_thresholds(look))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.AREA)
    )
    for target in _targets((query,)):
        panel.with_target(target)
    return panel


def states(title: str, description: str, look: Look, *queries: Query) -> Panel:
    """Show over time which of a few states each thing was in."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .links(_links(look))
        .span(look.span)
        .height(8)
        .unit(look.unit)
        .thresholds(_thresholds(look))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .show_value(common_models.VisibilityMode.AUTO)
        .legend(_legend())
    )
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def rows(title: str, description: str, look: Look, query: Query) -> Panel:
    """List the labels and the newest value of each series."""
    panel = table.Panel().title(title).description(description).datasource(SOURCE).links(_links(look))
    panel.span(look.span).height(8).unit(look.unit).thresholds(_thresholds(look)).filterable(True)
    for hidden in ("Time", "__name__"):
        panel.override_by_name(hidden, [models.DynamicConfigValue(id_val="custom.hidden", value=True)])
    target = _target("A", query).format(prometheus_models.PromQueryFormat.TABLE).instant()
    return panel.with_target(target)


def cloud(title: str, description: str, look: Look, query: Query) -> Panel:
    """Show how values are spread, over time; the query gives a histogram's buckets by `le`."""
    colour = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_models.HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    panel = heatmap.Panel().title(title).description(description).datasource(SOURCE).links(_links(look))
    panel.span(look.span).height(8).unit(NUMBER).color(colour).y_axis(heatmap.YAxisConfig().unit(look.unit))
    return panel.with_target(_target("A", query).format(prometheus_models.PromQueryFormat.HEATMAP).range())


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [_target(letter, query).range() for letter, query in zip(string.ascii_uppercase, queries, strict=False)]


def _target(name: str, query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(name).datasource(SOURCE).expr(query.expr).legend_format(query.legend)


def _links(look: Look) -> list[Builder[models.DashboardLink]]:
    return [
        dashboard.DashboardLink(f"Runbook: {alert}")
        .type(models.DashboardLinkType.LINK)
        .url(f"${{runbooks:raw}}/{alert}.md")
        .target_blank(True)
        for alert in look.runbooks
    ]


def _thresholds(look: Look) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(color="red" if look.inverted else "green")]
    steps += [models.Threshold(value=value, color=colour) for value, colour in look.limits]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
