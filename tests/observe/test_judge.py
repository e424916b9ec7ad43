"""What is said of a query, with a Prometheus that answers what the test tells it to."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from tests.observe.judge import Judge, Span, Verdict
from tests.observe.prometheus import Prometheus, PrometheusError, Series
from tests.observe.queries import Kind, Query

Answers = Mapping[str, list[Series] | None]
FRAMES: Mapping[str, list[Mapping[str, str]]] = {
    "frames": [{"outcome": "ok", "job": "a"}, {"outcome": "error", "job": "a"}]
}
ONE = [Series(labels={"job": "a"}, values=(1.0, 2.0))]
NONE_BUT_NAN = [Series(labels={"job": "a"}, values=())]


class TellingPrometheus(Prometheus):
    """Knows one metric, and what it is told that expressions give: nothing by default; None cannot be evaluated."""

    def __init__(self, answers: Answers) -> None:
        super().__init__("nowhere:0")
        self._series = FRAMES
        self._answers = answers

    async def labels_of(self, metric: str) -> list[Mapping[str, str]]:
        """Give those of the one metric."""
        return list(self._series.get(metric, ()))

    async def describes(self, metric: str) -> bool:
        """It is told of one metric that has no series."""
        return metric == "power"

    async def label_values(self, label: str, series: str) -> list[str]:
        """Give those of the one metric."""
        return [one[label] for one in self._series.get(series, ())]

    async def over_time(self, expr: str, *, start: float, end: float, step_s: float) -> list[Series]:
        """Give what was told."""
        answer = self._answers.get(expr, [])
        if answer is None:
            raise PrometheusError("bad data")
        return answer


async def verdict(
    query: Query,
    answers: Answers,
    *,
    absent: Mapping[str, str] = MappingProxyType({}),
    unseen: Mapping[tuple[str, str, str], str] = MappingProxyType({}),
) -> tuple[Verdict, str]:
    """Judge `query` where there is the metric `frames`."""
    judge = Judge(TellingPrometheus(answers), Span(start=0, end=60), absent=absent, unseen=unseen)
    judged = await judge.judge(query)
    return judged.verdict, judged.detail


def panel(expr: str, *labels: str) -> Query:
    """Make a panel's query."""
    return Query(kind=Kind.PANEL, where="a panel", expr=expr, over_time=True, labels=labels)


def alert(expr: str) -> Query:
    """Make an alert's expression."""
    return Query(kind=Kind.ALERT, where="AnAlert", expr=expr)


async def test_a_panel_with_values_is_well() -> None:
    """Values that are numbers, of a metric that there is."""
    assert await verdict(panel("sum(frames)"), {"sum(frames)": ONE}) == (Verdict.DATA, "1 series, 2")


@pytest.mark.parametrize("nothing", [[], NONE_BUT_NAN], ids=["no series", "no number"])
async def test_a_panel_without_values_fails(nothing: list[Series]) -> None:
    """A metric that there is gives nothing to excuse an empty panel; 0/0 counts as empty."""
    assert await verdict(panel("sum(frames)"), {"sum(frames)": nothing}) == (Verdict.FAILED, "no data")


@pytest.mark.parametrize(
    ("expr", "complaint"),
    [
        ("frame", "there is no metric frame"),
        ("sum by (result) (frames)", "frames has no label result"),
        ('frames{result="x"}', "frames has no label result; frames has never had result=x"),
        ('frames{outcome=~"ok|eror"}', "frames has never had outcome=eror"),
    ],
)
async def test_what_names_something_that_is_not_there_fails_even_with_values(expr: str, complaint: str) -> None:
    """A renamed metric, a lost label and a misspelt value are told by their names."""
    assert await verdict(panel(expr), {expr: ONE}) == (Verdict.FAILED, complaint)


async def test_what_prometheus_refuses_fails() -> None:
    """Its own words are in the report."""
    assert await verdict(panel("frames"), {"frames": None}) == (Verdict.FAILED, "bad data")


async def test_a_curve_named_after_a_label_that_it_has_not_fails() -> None:
    """Grafana would show the braces."""
    found = await verdict(panel("frames", "device"), {"frames": ONE})
    assert found == (Verdict.FAILED, "no series has the label device")


async def test_a_metric_that_is_declared_absent_excuses_an_empty_panel_while_it_is() -> None:
    """As soon as it has series, its panels are judged like all others."""
    absent = {"power": "no GPU", "frames": "not true"}
    assert await verdict(panel("power"), {}, absent=absent) == (Verdict.EXPECTED_EMPTY, "no GPU")
    assert await verdict(panel("frames"), {}, absent=absent) == (Verdict.FAILED, "no data")


async def test_a_metric_that_is_declared_absent_must_be_one_of_the_server_s() -> None:
    """Misspelt, it would be excused for ever."""
    found = await verdict(panel("powre"), {}, absent={"powre": "no GPU"})
    assert found == (Verdict.FAILED, "there is no metric powre")


async def test_a_value_that_is_declared_unseen_excuses_too() -> None:
    """It may not occur in this load; the label must be there all the same."""
    unseen = {("frames", "outcome", "expired"): "nobody is late"}
    expr = 'frames{outcome="expired"}'
    assert await verdict(panel(expr), {}, unseen=unseen) == (Verdict.EXPECTED_EMPTY, "nobody is late")


async def test_an_alert_may_be_quiet_about_something() -> None:
    """What it compares to its limit has values; that it does not fire is the best of news."""
    assert (await verdict(alert("frames > 9"), {"frames": ONE}))[0] is Verdict.QUIET


async def test_an_alert_must_not_be_quiet_about_nothing() -> None:
    """One that compares an empty vector would never fire."""
    found = await verdict(alert("frames > 9 and sum(frames) > 1"), {"frames": ONE})
    assert found == (Verdict.FAILED, "nothing to be quiet about: sum(frames)")


async def test_a_variable_lists_values() -> None:
    """What Grafana would offer to choose from."""
    query = Query(kind=Kind.VARIABLE, where="$job", expr="frames", label="job")
    assert (await verdict(query, {}))[0] is Verdict.DATA
