"""The figures of a soak as a table and as JSON."""

import dataclasses
import json
import platform
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table
from tests.soak.findings import Findings, growth
from tests.soak.ledger import ANSWERS

_MIB = 2**20


def table(findings: Findings) -> Table:
    """Lay out the figures."""
    drawn = Table(title=f"{findings.load_s:.0f} s of load, seed {findings.seed}, Python {platform.python_version()}")
    drawn.add_column("what", no_wrap=True)
    drawn.add_column("figure", justify="right")
    for row in (*_frame_rows(findings), *_load_rows(findings), *_server_rows(findings)):
        drawn.add_row(*row)
    return drawn


def _frame_rows(findings: Findings) -> Iterator[tuple[str, str]]:
    counts, frames = findings.counts, findings.metrics.frames
    yield "frames sent by clients", f"{counts['sent']}"
    yield "frames received by the server", f"{findings.received}"
    for outcome in ANSWERS:
        yield f"  {outcome}: server, seen by clients", f"{frames.get(outcome, 0)}, {counts[outcome]}"
    yield "  cancelled: server", f"{frames.get('cancelled', 0)}"
    yield "frames given up by their clients", f"{counts['cancelled']}"
    yield "frames unanswered when clients were killed", f"{sum(c.unanswered for c in findings.clients if c.killed)}"
    yield "frames cancelled by the last kill", f"{findings.cancelled_at_the_end}"
    yield "images that devices computed", f"{findings.metrics.computed}"


def _load_rows(findings: Findings) -> Iterator[tuple[str, str]]:
    counts = findings.counts
    yield "streams (cancelled, refused)", "{streams} ({streams_cancelled}, {streams_refused})".format(**counts)
    yield "unary calls (without results)", "{calls} ({calls_failed})".format(**counts)
    for deed, number in sorted(findings.dealt.items()):
        yield f"blows: {deed}", f"{number}"
    for cause, number in sorted(findings.metrics.deaths.items()):
        yield f"replicas lost: {cause}", f"{number}"


def _server_rows(findings: Findings) -> Iterator[tuple[str, str]]:
    before, after = findings.before, findings.after
    yield "threads before, after", f"{sum(before.threads.values())}, {sum(after.threads.values())}"
    yield "descriptors before, after", f"{before.descriptors}, {after.descriptors}"
    yield "memory before, after", f"{before.rss / _MIB:.1f}, {after.rss / _MIB:.1f} MiB"
    yield "  without the arena", f"{before.private / _MIB:.1f}, {after.private / _MIB:.1f} MiB"
    memory = growth(findings.samples)
    if memory:
        yield "memory after a minute, in rests", f"{memory.warm / _MIB:.1f} MiB"
        yield "memory later, in rests", f"{memory.late / _MIB:.1f} MiB ({memory.ratio:+.1%})"
    else:
        yield "growth of memory", "not judged: too short"
    under_load = [sample.resources.rss for sample in findings.samples if not sample.at_rest]
    yield "memory under load, median", f"{statistics.median(under_load) / _MIB:.1f} MiB"
    for what, number in findings.metrics.busy.items():
        yield f"{what} at the end", f"{number}"
    yield "exit status after SIGTERM", f"{findings.exit_status}"


def write_json(path: Path, findings: Findings, reasons: Sequence[str]) -> None:
    """Write everything, samples included, and what does not hold."""
    document = dataclasses.asdict(findings) | {"counts": findings.counts, "reasons": reasons}
    path.write_text(json.dumps(document, indent=1) + "\n")
