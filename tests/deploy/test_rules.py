"""Prometheus takes the configuration and the rules, each alert fires when it should, and each has its page."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkers import check, installed
from nasfeat_server import errors

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
BASE = "https://example.com/nasfeat/docs/runbooks/"
PAGES = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}


def rules() -> list[Mapping[str, Any]]:
    """Give the alerts of all files."""
    files = [yaml.safe_load(path.read_text()) for path in sorted((PROMETHEUS / "rules").glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"] if "alert" in rule]


ALERTS = rules()


@pytest.fixture(scope="module")
def promtool() -> str:
    """The program of Prometheus' that checks, or no test."""
    return installed("promtool")


def test_prometheus_takes_the_configuration(promtool: str) -> None:
    """The configuration is valid, finds both files of rules, and no rule is there twice."""
    printed = check(promtool, "check", "config", PROMETHEUS / "prometheus.yml")
    assert "2 rule files found" in printed
    assert "FAILED" not in printed


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(path: Path, promtool: str) -> None:
    """Promtool plays series of numbers to the rules, and compares the alerts with those that are expected."""
    assert "SUCCESS" in check(promtool, "test", "rules", path)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_no_test_depends_on_the_order_that_promtool_finds_groups_in(path: Path) -> None:
    """Each names all groups, recording rules first; those that are not named are evaluated in any order."""
    files = {file.stem: yaml.safe_load(file.read_text()) for file in (PROMETHEUS / "rules").glob("*.yml")}
    order = [group["name"] for name in ("recording", "alerts") for group in files[name]["groups"]]
    assert yaml.safe_load(path.read_text())["group_eval_order"] == order


def test_every_alert_is_tested_both_ways() -> None:
    """For each alert and severity some test expects it, and for each alert some test expects none."""
    firing, quiet = set(), set()
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for expected in test["alert_rule_test"]:
                name = expected["alertname"]
                firing |= {(name, alert["exp_labels"]["severity"]) for alert in expected["exp_alerts"]}
                if not expected["exp_alerts"]:
                    quiet.add(name)
    assert firing == {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS}
    assert quiet == {alert["alert"] for alert in ALERTS}


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    """The pages of docs/runbooks are those of the alerts, and the index lists them."""
    assert {alert["alert"] for alert in ALERTS} == PAGES
    assert set(re.findall(r"^\| \[(\w+)\]\(\1\.md\)", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)) == PAGES


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(alert: Mapping[str, Any]) -> None:
    """It has a severity that the index explains, a summary with the number in it, and its own page."""
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["runbook_url"] == f"{BASE}{alert['alert']}.md"
    summary = alert["annotations"]["summary"]
    assert "$labels.instance" in summary or "$labels.job" in summary
    assert "$value" in summary or re.search(r"\d", summary) or "left alone" in summary


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_runbook_answers_every_question(page: str) -> None:
    """It says what the alert means, who feels it, what to look at with queries, what to do, and how to silence it."""
    text = (RUNBOOKS / f"{page}.md").read_text()
    assert text.startswith(f"# {page}\n")
    for part in ("**Means:**", "**Impact:**", "## Look at", "```promql\n", "## Do", "## Silence"):
        assert part in text


def test_the_options_that_runbooks_name_exist() -> None:
    """What somebody types at night is an option of `nasfeat-server serve` or of `nasfeat video`."""
    programs = Path(sys.executable).parent
    helps = (check(programs / "nasfeat-server", "serve", "--help"), check(programs / "nasfeat", "video", "--help"))
    known = set(re.findall(r"--[a-z][a-z-]+", " ".join(helps)))
    named = {option for page in PAGES for option in re.findall(r"`(--[a-z-]+)`", (RUNBOOKS / f"{page}.md").read_text())}
    assert len(named) > 10
    assert named <= known


def test_the_errors_that_runbooks_name_exist() -> None:
    """A reason in the tables is the name of one of the server's errors, as the metrics have it."""
    text = " ".join((RUNBOOKS / f"{page}.md").read_text() for page in PAGES)
    named = set(re.findall(r"`(?:error|rejected|expired|invalid)` `(\w+)`", text))
    assert {"ReplicaLost", "Overloaded"} <= named
    assert all(hasattr(errors, f"{name}Error") for name in named)
