"""The report: a table to read, a picture to see, and JSON to keep."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from tests.simulation.devices import Profile
from tests.simulation.experiments import DIVIDED_LOAD, FLOODED_LOAD, LOADS, DividedRun, FloodRun, LiveRun, LoadRun
from tests.simulation.summary import Summary

_HEADINGS = ("good/s", "of cap.", "fairness", "wait p50", "p99", "p99 with deadline", "missed", "dropped")
_PANELS = (
    ("goodput_of_capacity", "goodput, part of capacity"),
    ("fairness", "fairness (Jain)"),
    ("hurried_p99_s", "queue wait of frames with a deadline, 99th percentile, s"),
    ("missed", "deadlines missed"),
    ("dropped", "frames no device had"),
    ("mean_batch", "frames in a batch"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found, and from what.

    Attributes:
        options: what the simulator was asked for.
        profile: the devices' kind.
        capacity: of the fleet, in frames a second.
    """

    options: dict[str, Any]
    profile: Profile
    capacity: float
    loads: Sequence[LoadRun]
    floods: Sequence[FloodRun]
    lives: Sequence[LiveRun]
    divided: Sequence[DividedRun]


def write(report: Report, output: Path) -> str:
    """Write report.txt, report.json and report.png below `output`; returns the text."""
    output.mkdir(parents=True, exist_ok=True)
    text = as_text(report)
    (output / "report.txt").write_text(text)
    (output / "report.json").write_text(json.dumps(asdict(report), indent=2) + "\n")
    draw(report, output / "report.png")
    return text


def as_text(report: Report) -> str:
    """Set the tables."""
    out = io.StringIO()
    console = Console(file=out, width=140)
    kind = "measured" if report.profile.measured else "ASSUMED, NOT MEASURED"
    console.print(f"Devices: {report.profile.name}, {kind}. {report.profile.provenance}.", highlight=False)
    console.print(f"Together {report.capacity:.1f} frames/s at best. {report.options}", highlight=False)
    tables = (
        _load_table(report.loads),
        _flood_table(report.floods),
        _live_table(report.lives),
        _divided_table(report.divided),
    )
    for table in tables:
        console.print()
        console.print(table)
    return out.getvalue()


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


def _load_table(runs: Sequence[LoadRun]) -> Table:
    table = _table("Mixed workload", "discipline", "load", *_HEADINGS, "batch", "busy")
    for run in runs:
        table.add_row(
            run.discipline,
            f"{run.load:.0%}",
            *_figures(run.summary),
            f"{run.summary.mean_batch:.2f}",
            f"{run.summary.busy:.1%}",
            end_section=run is runs[-1] or run.load != runs[runs.index(run) + 1].load,
        )
    return table


def _flood_table(runs: Sequence[FloodRun]) -> Table:
    title = f"16 streams that offer {FLOODED_LOAD:.0%}: 99th percentile of their queue wait"
    table = _table(title, "discipline", "devices", "alone", "beside a flood", "ratio")
    for run in runs:
        waits = (f"{seconds * 1000:.1f} ms" for seconds in (run.alone_s, run.flooded_s))
        table.add_row(run.discipline, str(run.devices), *waits, f"{run.ratio:.2f}")
    return table


def _live_table(runs: Sequence[LiveRun]) -> Table:
    title = "A live camera three times as fast as its device: age of results, in times of a single frame"
    table = _table(title, "discipline", "median", "oldest", "frames/s")
    for run in runs:
        table.add_row(run.discipline, f"{run.median_age:.2f}", f"{run.oldest_age:.2f}", f"{run.frames_per_s:.2f}")
    return table


def _divided_table(runs: Sequence[DividedRun]) -> Table:
    title = f"Mixed workload at {DIVIDED_LOAD:.0%} on the same devices, divided among servers"
    table = _table(title, "servers", "streams placed", *_HEADINGS)
    for run in runs:
        table.add_row(str(run.servers), run.placed, *_figures(run.summary))
    return table


def _figures(summary: Summary) -> tuple[str, ...]:
    """Give the cells below `_HEADINGS`."""
    return (
        f"{summary.goodput:.1f}",
        f"{summary.goodput_of_capacity:.1%}",
        f"{summary.fairness:.3f}",
        f"{summary.wait_p50_s * 1000:.1f} ms",
        f"{summary.wait_p99_s * 1000:.1f} ms",
        f"{summary.hurried_p99_s * 1000:.1f} ms",
        f"{summary.missed:.2%}",
        f"{summary.dropped:.2%}",
    )


def draw(report: Report, path: Path) -> None:
    """Draw one panel a figure, one line a discipline, over the load."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    FigureCanvasAgg(figure)
    kind = "measured" if report.profile.measured else "assumed, not measured"
    figure.suptitle(f"Mixed workload on {report.options['devices']} devices, {report.profile.name} ({kind})")
    for axes, (name, label) in zip(figure.subplots(2, 3).flat, _PANELS, strict=True):
        _draw_panel(axes, report.loads, name, label)
    figure.savefig(path, dpi=120)


def _draw_panel(axes: Axes, runs: Sequence[LoadRun], name: str, label: str) -> None:
    for discipline in dict.fromkeys(run.discipline for run in runs):
        own = [run for run in runs if run.discipline == discipline]
        axes.plot([run.load for run in own], [getattr(run.summary, name) for run in own], marker="o", label=discipline)
    axes.set_title(label, fontsize=10)
    axes.set_xticks(LOADS, [f"{load:.0%}" for load in LOADS])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("load, part of capacity")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
