"""Every query that is committed is read."""

import pytest
from tests.observe import queries
from tests.observe.conductor import VARIABLES
from tests.observe.queries import Kind, all_queries


def test_every_kind_of_query_is_found() -> None:
    """Panels of open and closed rows, what is chosen and marked above them, rules, scaling, and the runbooks."""
    found = all_queries(VARIABLES)
    assert {query.kind for query in found} == set(Kind)
    titles = {query.where for query in found if query.kind is Kind.PANEL}
    assert {"Servers ready", "Certificate, time left"} <= titles
    assert {query.where for query in found if query.kind is Kind.VARIABLE} == {"$job", "$instance", "$device"}
    pages = {path.name for path in queries.RUNBOOKS.glob("*.md")} - {"README.md"}
    assert {query.where for query in found if query.kind is Kind.RUNBOOK} == pages


def test_no_variable_of_grafana_s_is_left() -> None:
    """Prometheus would not know it."""
    assert not [query for query in all_queries(VARIABLES) if "$" in query.expr]
    without = {name: value for name, value in VARIABLES.items() if name != "device"}
    with pytest.raises(ValueError, match=r"\$device"):
        all_queries(without)
