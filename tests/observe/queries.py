"""Every query that an operator will see, as it is committed."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "nasfeat.json"
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
ADAPTER = ROOT / "deploy" / "prometheus" / "adapter.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"

_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")
_LEGEND_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_FENCED = re.compile(r"^```promql\n(.+?)^```", re.MULTILINE | re.DOTALL)


class Kind(StrEnum):
    """Where a query stands, which says how it is evaluated."""

    PANEL = "panel"
    VARIABLE = "variable"
    ANNOTATION = "annotation"
    RECORD = "record"
    ALERT = "alert"
    SCALING = "scaling"
    RUNBOOK = "runbook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query.

    Attributes:
        where: the panel's title, the alert's name and the like.
        expr: PromQL, with Grafana's variables replaced.
        over_time: Grafana draws it over time; otherwise its value now is asked for.
        labels: those that its curves are named after.
        label: of a variable, the label whose values it lists.
    """

    kind: Kind
    where: str
    expr: str
    over_time: bool = False
    labels: tuple[str, ...] = ()
    label: str = ""


def all_queries(variables: Mapping[str, str]) -> tuple[Query, ...]:
    """Read every query.

    Args:
        variables: what stands for Grafana's variables, by name without the dollar sign.

    Raises:
        ValueError: a query holds a variable that is not among them.
    """
    dashboard = json.loads(DASHBOARD.read_text())
    return (
        *_panels(dashboard, variables),
        *_variables(dashboard, variables),
        *_annotations(dashboard, variables),
        *_rules(),
        *_scaling(variables["instance"]),
        *_runbooks(variables["instance"]),
    )


def _panels(dashboard: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Query]:
    for panel in _each_panel(dashboard["panels"]):
        for target in panel["targets"]:
            yield Query(
                kind=Kind.PANEL,
                where=panel["title"],
                expr=_replaced(target["expr"], variables),
                over_time=not target.get("instant", False),
                labels=tuple(_LEGEND_LABEL.findall(target.get("legendFormat", ""))),
            )


def _each_panel(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        if panel["type"] == "row":
            yield from _each_panel(panel["panels"])
        else:
            yield panel


def _variables(dashboard: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Query]:
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        found = _LABEL_VALUES.fullmatch(variable["query"]["query"])
        if not found:
            raise ValueError(f"the variable {variable['name']} is no label_values(): {variable['query']}")
        series = _replaced(found["series"], variables)
        yield Query(kind=Kind.VARIABLE, where=f"${variable['name']}", expr=series, label=found["label"])


def _annotations(dashboard: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Query]:
    for mark in dashboard["annotations"]["list"]:
        expr = _replaced(mark["expr"], variables)
        labels = _LEGEND_LABEL.findall(mark["titleFormat"] + mark["textFormat"])
        yield Query(kind=Kind.ANNOTATION, where=mark["name"], expr=expr, over_time=True, labels=tuple(labels))


def _rules() -> Iterator[Query]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                kind = Kind.ALERT if "alert" in rule else Kind.RECORD
                yield Query(kind=kind, where=rule.get("alert") or rule["record"], expr=rule["expr"])


def _scaling(instance: str) -> Iterator[Query]:
    """Read the autoscaler's metrics, for instances in the place of pods."""
    for rule in yaml.safe_load(ADAPTER.read_text())["rules"]["custom"]:
        here = rule["metricsQuery"].replace("<<.LabelMatchers>>", f'instance=~"{instance}"')
        yield Query(kind=Kind.SCALING, where=rule["name"]["as"], expr=here.replace("<<.GroupBy>>", "instance"))


def _runbooks(instance: str) -> Iterator[Query]:
    for path in sorted(RUNBOOKS.glob("*.md")):
        for expr in _FENCED.findall(path.read_text()):
            here = expr.strip().replace('instance="a:9464"', f'instance=~"{instance}"')
            yield Query(kind=Kind.RUNBOOK, where=path.name, expr=here)


def _replaced(text: str, variables: Mapping[str, str]) -> str:
    for name in sorted(variables, key=len, reverse=True):
        text = text.replace(f"${name}", variables[name])
    if "$" in text:
        raise ValueError(f"a variable that nobody sets: {text}")
    return text
