"""`make simulate`: what the scheduling policy does with a day's streams, beside two other disciplines.

What is modelled and what is not: see `tests/simulation/__init__.py`. Where a device's figures come from, and whether
they are measured or assumed, stands in `devices.json` and on top of every report.
"""

import itertools
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from tests.simulation.devices import capacity, make_fleet, profiles
from tests.simulation.experiments import (
    DISCIPLINES,
    LOADS,
    PLACINGS,
    beside_a_flood,
    divided,
    too_fast_for,
    under_loads,
)
from tests.simulation.report import Report, write


@click.command(context_settings={"show_default": True})
@click.option("--seed", default=0, help="Of all that is random; the same seed gives the same report.")
@click.option("--streams", default=200, help="Streams of the mixed workload.")
@click.option("--devices", default=16, type=click.IntRange(1, 1024), help="Devices, of unequal speed.")
@click.option("--seconds", default=30.0, help="Virtual seconds of every run.")
@click.option("--output", default=Path("build/simulation"), type=click.Path(path_type=Path), help="Where it goes.")
@click.option("--model", default="mobile", type=click.Choice(tuple(profiles())), help="Whose batch times.")
@click.option("--batch", default=8, help="The largest batch, a power of two.")
def main(**options: Any) -> None:
    """Simulate the scheduling policy; writes report.txt, report.json and report.png."""
    profile, seed, seconds = profiles()[options["model"]], options["seed"], options["seconds"]
    fleet = make_fleet(profile, options["devices"], options["batch"])
    places = [(1, "by number"), *itertools.product(_servers(len(fleet)), PLACINGS)]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        sizes = sorted({1, min(4, options["devices"]), options["devices"]})
        task = progress.add_task("simulating", total=len(DISCIPLINES) * (len(LOADS) + len(sizes) + 1) + len(places))
        loads, floods, lives, parts = [], [], [], []
        for run in under_loads(fleet, streams=options["streams"], seed=seed, seconds=seconds):
            loads.append(run)
            progress.advance(task)
        for size, make in itertools.product(sizes, DISCIPLINES):
            part = make_fleet(profile, size, options["batch"])
            floods.append(beside_a_flood(make, part, seed=seed, seconds=seconds))
            progress.advance(task)
        for make in DISCIPLINES:
            lives.append(too_fast_for(make, fleet[0], seed=seed, seconds=seconds))
            progress.advance(task)
        for servers, placed in places:
            parts.append(
                divided(fleet, servers=servers, placed=placed, streams=options["streams"], seed=seed, seconds=seconds)
            )
            progress.advance(task)
    report = Report(
        options={**options, "output": str(options["output"])},
        profile=profile,
        capacity=capacity(fleet),
        loads=loads,
        floods=floods,
        lives=lives,
        divided=parts,
    )
    print(write(report, options["output"]))
    print(f"report.txt, report.json and report.png are in {options['output']}")


def _servers(devices: int) -> list[int]:
    """Give numbers of servers: of eight devices each, of two, of one."""
    return sorted({devices // each for each in (8, 2, 1) if devices // each > 1})


if __name__ == "__main__":
    main()
