"""The dashboard: its rows, what is chosen above them, and what is marked in all of them."""

import json

from deploy.grafana.panels import SOURCE
from deploy.grafana.promql import of, of_device
from deploy.grafana.rows import access, devices, glance, model, native, requests, saturation, video
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

RUNBOOKS = "https://example.com/nasfeat/docs/runbooks"
"""Where docs/runbooks is to be read; operators name the place of their copy."""

# Title, panels, and whether the row is closed until somebody wants it.
_ROWS = (
    ("At a glance", glance.panels, False),
    ("Requests: rate, errors, duration", requests.panels, False),
    ("Saturation", saturation.panels, False),
    ("Devices", devices.panels, False),
    ("Video", video.panels, False),
    ("Model", model.panels, True),
    ("Access", access.panels, True),
    ("Native histograms", native.panels, True),
)


def as_json(runbooks: str = RUNBOOKS) -> str:
    """Give the dashboard as Grafana loads it; `runbooks` is where the pages of docs/runbooks are read."""
    document = json.loads(json.dumps(build(runbooks), cls=JSONEncoder))
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def build(runbooks: str) -> models.Dashboard:
    """Put the dashboard together."""
    builder = (
        dashboard.Dashboard("nasfeat")
        .uid("nasfeat")
        .description("A nasfeat server: images in, feature vectors out. Made by `python -m deploy.grafana`.")
        .tags(["nasfeat"])
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .editable()
        .link(_index())
        .variables(_variables(runbooks))
        .annotations(_annotations())
    )
    for title, panels, closed in _ROWS:
        row = dashboard.Row(title)
        if closed:
            row.collapsed(True)
            for panel in panels():
                row.with_panel(panel)
            builder.with_row(row)
        else:
            builder.with_row(row)
            for panel in panels():
                builder.with_panel(panel)
    return _numbered(builder.build())


def _numbered(built: models.Dashboard) -> models.Dashboard:
    """Give each panel its number; Grafana would do so on saving, and every copy would differ."""
    numbers = iter(range(1, 1000))
    for panel in built.panels or ():
        panel.id_val = next(numbers)
        if isinstance(panel, models.RowPanel):
            for inner in panel.panels:
                inner.id_val = next(numbers)
    return built


def _index() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Runbooks").type(models.DashboardLinkType.LINK).icon("doc")
    return link.url("${runbooks:raw}/README.md").target_blank(True)


def _variables(runbooks: str) -> list[Builder[models.VariableModel]]:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    place = models.VariableOption(text=runbooks, value=runbooks)
    pages = dashboard.TextBoxVariable("runbooks").label("Runbooks").default_value(runbooks).current(place)
    return [
        source,
        _labels("job", "Job", "nasfeat_build_info"),
        _labels("instance", "Server", 'nasfeat_build_info{job=~"$job"}'),
        _labels("device", "Device", of("nasfeat_replica_up")),
        pages.description("Where the pages of docs/runbooks are read; panels link to them."),
    ]


def _labels(label: str, shown: str, series: str) -> dashboard.QueryVariable:
    everything = models.VariableOption(text=["All"], value=["$__all"])
    return (
        dashboard.QueryVariable(label)
        .label(shown)
        .datasource(SOURCE)
        .query({"query": f"label_values({series}, {label})", "refId": label})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


class _Marks(models.AnnotationQuery):
    """Marks with a title and a text, which Grafana's Prometheus source knows and the library's model lacks."""

    def __init__(self, *, name: str, expr: str, colour: str, title: str, text: str) -> None:
        super().__init__(name=name, datasource=SOURCE, icon_color=colour, expr=expr)
        self._formats = {"titleFormat": title, "textFormat": text, "step": "60s"}

    def to_json(self) -> dict[str, object]:
        return super().to_json() | self._formats


class _Built(Builder[models.AnnotationQuery]):
    """What is built already, where the library wants a builder."""

    def __init__(self, marks: models.AnnotationQuery) -> None:
        self._marks = marks

    def build(self) -> models.AnnotationQuery:
        return self._marks


def _annotations() -> list[Builder[models.AnnotationQuery]]:
    lost = f"sum by (instance, device, cause) (increase({of_device('nasfeat_replica_restarts_total')}[2m])) > 0"
    loaded = f"sum by (instance, outcome) (increase({of('nasfeat_reloads_total')}[2m])) > 0"
    started = f"time() - {of('process_start_time_seconds')} < 120"
    marks = (
        _Marks(
            name="Replicas lost", expr=lost, colour="red", title="replica {{cause}}", text="{{device}} {{instance}}"
        ),
        _Marks(name="Reloads", expr=loaded, colour="blue", title="reload: {{outcome}}", text="{{instance}}"),
        _Marks(name="Server starts", expr=started, colour="purple", title="server started", text="{{instance}}"),
    )
    return [_Built(mark) for mark in marks]
