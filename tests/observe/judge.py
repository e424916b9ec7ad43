"""Whether a query shows what it is there for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.observe.anatomy import Named, named, subjects
from tests.observe.prometheus import Prometheus, PrometheusError, Series
from tests.observe.queries import Kind, Query

# Prometheus' own.
_ALERTS = "ALERTS"


class Verdict(StrEnum):
    """What is said of a query."""

    DATA = "data"
    QUIET = "quiet"
    EXPECTED_EMPTY = "empty as expected"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A query, what is said of it and why."""

    query: Query
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time that queries look at: seconds since the epoch."""

    start: float
    end: float
    step_s: float = 2.0


class Judge:
    """Evaluates queries.

    Args:
        prometheus: has scraped a server under load.
        span: when that was.
        absent: metrics of which there may be descriptions and no series on this machine, with the reason; one that has
            series is judged as any.
        unseen: values of labels that this load does not bring about, as (metric, label, value), with the reason.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        span: Span,
        *,
        absent: Mapping[str, str],
        unseen: Mapping[tuple[str, str, str], str],
    ) -> None:
        self._prometheus = prometheus
        self._span = span
        self._absent = absent
        self._unseen = unseen
        self._known: dict[str, Sequence[Mapping[str, str]]] = {}

    async def judge(self, query: Query) -> Judged:
        """Evaluate `query`, and look up everything that it names."""
        try:
            names = named(query.expr)
            complaints = await self._unknown(names)
            found = await self._evaluate(query, query.expr)
        except (PrometheusError, ValueError) as error:
            return Judged(query=query, verdict=Verdict.FAILED, detail=f"{error}")
        if complaints:
            return Judged(query=query, verdict=Verdict.FAILED, detail="; ".join(complaints))
        excuse = await self._excuse(names)
        if query.kind is Kind.ALERT:
            return await self._judge_alert(query, found, excuse)
        if not _has_values(found):
            verdict = Verdict.EXPECTED_EMPTY if excuse else Verdict.FAILED
            return Judged(query=query, verdict=verdict, detail=excuse or "no data")
        missing = [label for label in query.labels if not any(label in series.labels for series in found)]
        if missing:
            return Judged(query=query, verdict=Verdict.FAILED, detail=f"no series has the label {', '.join(missing)}")
        return Judged(query=query, verdict=Verdict.DATA, detail=_described(found))

    async def _judge_alert(self, query: Query, found: Sequence[Series], excuse: str) -> Judged:
        """An alert that is quiet is right if what it compares to its limits has values."""
        for subject in subjects(query.expr):
            if not _has_values(await self._evaluate(query, subject)):
                verdict = Verdict.EXPECTED_EMPTY if excuse else Verdict.FAILED
                return Judged(query=query, verdict=verdict, detail=excuse or f"nothing to be quiet about: {subject}")
        if _has_values(found):
            return Judged(query=query, verdict=Verdict.DATA, detail=f"true of {_described(found)}")
        return Judged(query=query, verdict=Verdict.QUIET, detail="what it compares has values")

    async def _evaluate(self, query: Query, expr: str) -> list[Series]:
        if query.kind is Kind.VARIABLE:
            values = await self._prometheus.label_values(query.label, expr)
            return [Series(labels={query.label: value}, values=(1.0,)) for value in values]
        # Whatever was so at any time of the load counts, also for what Grafana would ask of this moment alone.
        return await self._prometheus.over_time(
            expr, start=self._span.start, end=self._span.end, step_s=self._span.step_s
        )

    async def _excuse(self, names: Named) -> str:
        """Say why it may have no data: the declared reasons of what it names and there is not."""
        absent = [metric for metric in sorted(names.metrics & self._absent.keys()) if not await self._series_of(metric)]
        unseen = [
            value
            for value in sorted(names.values & self._unseen.keys())
            if not _has(await self._series_of(value[0]), value)
        ]
        reasons = (*(self._absent[metric] for metric in absent), *(self._unseen[value] for value in unseen))
        return "; ".join(dict.fromkeys(reasons))

    async def _series_of(self, metric: str) -> Sequence[Mapping[str, str]]:
        if metric not in self._known:
            self._known[metric] = await self._prometheus.labels_of(metric)
        return self._known[metric]

    async def _unknown(self, names: Named) -> list[str]:
        """Complain of metrics, labels and values that there are not."""
        complaints = []
        for metric in sorted(names.metrics):
            series = await self._series_of(metric)
            if not series:
                # What the server describes may have no series here; what nobody has heard of is misspelt.
                heard_of = metric == _ALERTS or await self._prometheus.describes(metric)
                if metric not in self._absent or not heard_of:
                    complaints.append(f"there is no metric {metric}")
                continue
            labels = {label for one in series for label in one}
            complaints += [
                f"{metric} has no label {label}"
                for of, label in sorted(names.labels)
                if of == metric and label not in labels
            ]
            complaints += [
                f"{metric} has never had {label}={value}"
                for of, label, value in sorted(names.values)
                if of == metric and (of, label, value) not in self._unseen and not _has(series, (of, label, value))
            ]
        return complaints


def _has(series: Sequence[Mapping[str, str]], wanted: tuple[str, str, str]) -> bool:
    _, label, value = wanted
    return any(one.get(label) == value for one in series)


def _has_values(found: Sequence[Series]) -> bool:
    return any(series.values for series in found)


def _described(found: Sequence[Series]) -> str:
    numbers = [series.values[-1] for series in found if series.values]
    span = f"{min(numbers):.4g}" if min(numbers) == max(numbers) else f"{min(numbers):.4g} to {max(numbers):.4g}"
    return f"{len(numbers)} series, {span}"
