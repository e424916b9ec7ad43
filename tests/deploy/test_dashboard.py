"""The dashboard that is committed is the one that the code makes, and every panel of it explains itself."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from deploy.grafana.dashboard import as_json
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "deploy" / "grafana" / "nasfeat.json"
DASHBOARD: Mapping[str, Any] = json.loads(COMMITTED.read_text())


def each_panel(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give the panels of all rows, open and closed."""
    for panel in panels:
        if panel["type"] == "row":
            yield from each_panel(panel["panels"])
        else:
            yield panel


PANELS = list(each_panel(DASHBOARD["panels"]))


def test_the_committed_dashboard_is_current() -> None:
    """`python -m deploy.grafana` would write what is committed."""
    assert COMMITTED.read_text() == as_json(), "run `python -m deploy.grafana` and commit what it writes"


def test_grafana_s_own_model_reads_it() -> None:
    """The library's model of a dashboard takes the committed JSON and gives it back, but for what it does not know."""
    read = json.loads(json.dumps(models.Dashboard.from_json(dict(DASHBOARD)), cls=JSONEncoder))
    for mark in DASHBOARD["annotations"]["list"]:
        for unknown in ("titleFormat", "textFormat", "step"):
            del mark[unknown]
    assert read == DASHBOARD


def test_every_row_is_there_in_the_order_of_looking() -> None:
    """From what users feel to what explains it."""
    rows = [panel["title"].partition(":")[0] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["At a glance", "Requests", "Saturation", "Devices", "Video", "Model", "Access", "Native histograms"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_explains_itself(panel: dict[str, Any]) -> None:
    """It has a title of its own, a sentence or more, a unit and a query that keeps to the chosen servers."""
    assert [other["title"] for other in PANELS].count(panel["title"]) == 1
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for target in panel["targets"]:
        chosen = 'job=~"$job"' if target["expr"].startswith("ALERTS") else 'job=~"$job", instance=~"$instance"'
        assert chosen in target["expr"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_the_runbooks_that_a_panel_links_to_exist(panel: dict[str, Any]) -> None:
    """Its links lead to pages of docs/runbooks, wherever that is read."""
    for link in panel["links"]:
        page = link["url"].removeprefix("${runbooks:raw}/")
        assert page != link["url"]
        assert (ROOT / "docs" / "runbooks" / page).is_file()


def test_panels_have_numbers_and_places_of_their_own() -> None:
    """No id twice, nothing beyond the 24 columns, and in an open row nothing lies on anything else."""
    ids = [panel["id"] for panel in (*PANELS, *(row for row in DASHBOARD["panels"] if row["type"] == "row"))]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
