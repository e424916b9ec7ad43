"""What is found in PromQL: names, and what alerts are about."""

import pytest
from tests.observe.anatomy import named, subjects


def test_metrics_labels_and_values_are_found_wherever_they_stand() -> None:
    """In matchers, in ranges, in groupings around functions, and on both sides of operators."""
    found = named('histogram_quantile(0.9, sum by (le, stage) (rate(a_bucket{o=~"x|y"}[5m]))) / max(b{p!="z"})')
    assert found.metrics == {"a_bucket", "b"}
    assert found.labels == {("a_bucket", "le"), ("a_bucket", "stage"), ("a_bucket", "o"), ("b", "p")}
    assert found.values == {("a_bucket", "o", "x"), ("a_bucket", "o", "y"), ("b", "p", "z")}


def test_patterns_are_no_values() -> None:
    """Only words can be looked up among the values that a label has had."""
    assert named('a{o=~".*", p=~"x.+|y", q="", r=~"v/(w|x)"}').values == {("a", "p", "y")}


def test_what_is_no_promql_is_refused() -> None:
    """An open bracket is found here, not in front of an operator."""
    with pytest.raises(ValueError, match=r"."):
        named("sum(rate(a[5m])")


@pytest.mark.parametrize(
    ("expression", "about"),
    [
        ("a == 0", ("a",)),
        ("a > 1 and b > 2 or c > 3", ("a", "b", "c")),
        ("(a < 1) or absent(a)", ("a",)),
        ("min_over_time(a[3m]) > 0 unless on (job) sum(b) > 0", ("min_over_time(a[3m])", "sum(b)")),
        ("a < on (job) group_left () (max(b) - 1)", ("a",)),
        ("rate(a[5m])", ("rate(a[5m])",)),
    ],
)
def test_an_alert_is_about_what_it_compares(expression: str, about: tuple[str, ...]) -> None:
    """That is what must have values if the alert is ever to fire."""
    assert subjects(expression) == about
