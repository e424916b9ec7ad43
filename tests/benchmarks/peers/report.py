"""What a run found, as a whole: written as JSON and as Markdown, printed as tables."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from peers.catalogue import NULL_MODEL
from peers.readings import Cell, Reading, Row, Verdict, median_of, rows_of, verdicts_of
from peers.tables import Grid, grids_of, starts_grid, verdict_lines


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was found so far.

    Attributes:
        machine: what it was measured on.
        versions: of each environment.
        options: what was asked for.
        missing: peers that could not be installed, and why.
        failures: what went wrong, in the order it did.
        readings: each cell's rounds.
        cold_starts_s: each start of a model and peer.
        differences: of the features of the first picture from those of the first server measured, of their norm, by
            model and peer.
        notes: what a reader of the figures must know.
    """

    machine: Mapping[str, str]
    versions: Mapping[str, Sequence[str]]
    options: Mapping[str, Any]
    missing: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    readings: dict[Cell, list[Reading]] = field(default_factory=dict)
    cold_starts_s: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    differences: dict[tuple[str, str], float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """Make a row of each cell."""
        return rows_of(self.readings)

    def verdicts(self) -> list[Verdict]:
        """Hold nasfeat's serving against that of the peers, with the model that costs nothing."""
        return verdicts_of(self.rows(), NULL_MODEL)

    def grids(self) -> list[Grid]:
        """Make the tables, those of each model and that of the starts."""
        rows = self.rows()
        models = dict.fromkeys(row.cell.model for row in rows)
        starts = {key: _median(seconds) for key, seconds in self.cold_starts_s.items()}
        return [*(grid for model in models for grid in grids_of(rows, model)), starts_grid(rows, starts)]

    def remarks(self) -> Iterator[str]:
        """Say in lines what stands in no table."""
        yield from verdict_lines(self.verdicts())
        yield from (f"missing: {name}: {reason}" for name, reason in self.missing.items())
        yield from (f"failed: {failure}" for failure in self.failures)
        for (model, name), difference in self.differences.items():
            yield f"features of {name} ({model}) differ by {difference:.2g} of their norm"
        yield from self.notes
        yield from (f"versions, {name or 'nasfeat'}: {', '.join(pins)}" for name, pins in self.versions.items())


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


_TOLD_ELSEWHERE = frozenset({"peers", "models", "minutes"})


def _described(findings: Findings) -> str:
    machine = ", ".join(f"{name}: {value}" for name, value in findings.machine.items())
    told = {name: value for name, value in findings.options.items() if name not in _TOLD_ELSEWHERE}
    return f"{machine}; {', '.join(f'{name}: {_text(value)}' for name, value in told.items())}"


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def to_json(findings: Findings) -> str:
    """Write everything that was found: each round, and what was made of them."""
    cells = [
        {
            **dataclasses.asdict(row.cell),
            "median": dataclasses.asdict(median_of(findings.readings[row.cell])),
            "cpu_times_echo": row.echo_ratio,
            "rounds": [dataclasses.asdict(reading) for reading in findings.readings[row.cell]],
        }
        for row in findings.rows()
    ]
    verdicts = [
        {**dataclasses.asdict(one.cell), "ratio": one.ratio, "limit": one.limit, "held": one.held}
        for one in findings.verdicts()
    ]
    starts = [{"model": model, "peer": name, "s": s} for (model, name), s in findings.cold_starts_s.items()]
    differences = [{"model": model, "peer": name, "of_norm": d} for (model, name), d in findings.differences.items()]
    document = {
        "machine": findings.machine,
        "versions": findings.versions,
        "options": findings.options,
        "missing": findings.missing,
        "failures": findings.failures,
        "notes": findings.notes,
        "cold_starts": starts,
        "differences": differences,
        "verdicts": verdicts,
        "cells": cells,
    }
    return json.dumps(document, indent=1)


def to_markdown(findings: Findings) -> str:
    """Write the tables and the lines beside them, under the machine and the date."""
    parts = [_described(findings), *(grid.for_markdown() for grid in findings.grids())]
    parts.append("\n".join(f"- {line}" for line in findings.remarks()))
    return "\n\n".join(parts) + "\n"


def write(findings: Findings, directory: Path) -> None:
    """Write results.json and results.md."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(to_json(findings))
    (directory / "results.md").write_text(to_markdown(findings))


def show(findings: Findings) -> None:
    """Print the tables."""
    console = Console(width=150)
    console.print(_described(findings), highlight=False)
    for grid in findings.grids():
        console.print(grid.for_terminal())
    for line in findings.remarks():
        console.print(line, highlight=False, markup=False)
