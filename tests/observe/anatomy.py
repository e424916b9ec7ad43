"""What a PromQL expression names: metrics, labels and values; and what an alert is about."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

_COMPARISONS = frozenset(("==", "!=", ">", "<", ">=", "<="))
_SET_OPERATORS = frozenset(("and", "or", "unless"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What an expression names.

    Attributes:
        metrics: the names of series.
        labels: of each metric, those that matchers and groupings ask it for.
        values: of each metric and label, the values that matchers ask for; those of variables and patterns left out.
    """

    metrics: frozenset[str]
    labels: frozenset[tuple[str, str]]
    values: frozenset[tuple[str, str, str]]


def named(expression: str) -> Named:
    """Find what `expression` names.

    Raises:
        ValueError: it is no PromQL.
    """
    metrics: set[str] = set()
    labels: set[tuple[str, str]] = set()
    values: set[tuple[str, str, str]] = set()
    for node, grouping in _walk(promql.parse(expression), frozenset()):
        metric = node.name or ""
        metrics.add(metric)
        labels.update((metric, label) for label in grouping)
        for matcher in node.matchers.matchers:
            labels.add((metric, matcher.name))
            values.update((metric, matcher.name, value) for value in _plain_values(matcher.value))
    return Named(metrics=frozenset(metrics), labels=frozenset(labels), values=frozenset(values))


def subjects(expression: str) -> tuple[str, ...]:
    """Give what an alert compares to its limits: what must have values if it is ever to fire.

    `up == 0` is about `up`; `a > 1 and b > 2` about `a` and `b`. What is asked by `absent` is left out. An expression
    without comparisons is about itself.
    """
    return tuple(dict.fromkeys(subject.prettify() for subject in _subjects(promql.parse(expression))))


def _subjects(node: Any) -> Iterator[Any]:
    node = _bare(node)
    operator = str(node.op) if isinstance(node, promql.BinaryExpr) else ""
    if operator in _SET_OPERATORS:
        yield from _subjects(node.lhs)
        yield from _subjects(node.rhs)
    elif operator in _COMPARISONS:
        yield node.lhs
    elif not (isinstance(node, promql.Call) and node.func.name == "absent"):
        yield node


def _bare(node: Any) -> Any:
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    return node


def _walk(node: Any, grouping: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """Give each selector of series, with the labels by which what is around it groups."""
    if isinstance(node, promql.VectorSelector):
        yield node, grouping
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector, grouping
    elif isinstance(node, promql.BinaryExpr):
        yield from _walk(node.lhs, grouping)
        yield from _walk(node.rhs, grouping)
    elif isinstance(node, promql.AggregateExpr):
        by = node.modifier.labels if node.modifier and str(node.modifier.type).endswith("By") else ()
        # What groups on the outside has to be there on the inside, unless an aggregation between them drops it, which
        # would be an error of its own: labels that are asked for of what cannot have them.
        yield from _walk(node.expr, grouping | frozenset(by))
    else:
        for inner in _inner(node):
            yield from _walk(inner, grouping)


def _inner(node: Any) -> Iterable[Any]:
    if isinstance(node, promql.Call):
        return tuple(node.args)
    if isinstance(node, promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return (node.expr,)
    return ()


def _plain_values(pattern: str) -> Iterator[str]:
    for value in () if "(" in pattern else pattern.split("|"):
        if value and all(character.isalnum() or character in "_-" for character in value):
            yield value
