"""What was found, as a table and as JSON."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from tests.observe.judge import Judged, Verdict

_STYLES = {Verdict.FAILED: "red", Verdict.EXPECTED_EMPTY: "yellow"}


def table(judged: Sequence[Judged]) -> Table:
    """Lay out a row for each query."""
    drawn = Table(title=summary(judged), show_lines=False)
    for column in ("kind", "where", "verdict", "detail"):
        drawn.add_column(column, overflow="fold", no_wrap=column == "kind")
    for one in judged:
        detail = f"{one.detail}\n{one.query.expr}" if one.verdict is Verdict.FAILED else one.detail
        drawn.add_row(one.query.kind, one.query.where, one.verdict, detail, style=_STYLES.get(one.verdict))
    return drawn


def summary(judged: Sequence[Judged]) -> str:
    """Count the verdicts in a line."""
    counts = Counter(one.verdict for one in judged)
    return f"{len(judged)} queries: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)


def write_json(path: Path, judged: Sequence[Judged]) -> None:
    """Write every query with its verdict."""
    rows = [
        {"kind": one.query.kind, "where": one.query.where, "expr": one.query.expr}
        | {"verdict": one.verdict, "detail": one.detail}
        for one in judged
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n")
