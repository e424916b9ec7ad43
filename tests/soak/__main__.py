"""`make soak`: minutes of mixed load on the whole server, with everything killed that can be, and then the books."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import psutil
from rich.console import Console
from tests.soak.conductor import Options, Soak
from tests.soak.findings import reasons
from tests.soak.report import table, write_json


@click.command(context_settings={"show_default": True})
@click.option(
    "--minutes", default=3.0, type=click.FloatRange(min=0.1), help="Of load; the growth of memory is judged from 2 on."
)
@click.option("--seed", default=0, help="Of what clients send and what befalls whom; when things meet is up to chance.")
@click.option("--replicas", default=2, type=click.IntRange(min=1), help="Of the fake engine.")
@click.option("--clients", default=4, type=click.IntRange(min=1), help="Processes, each with several streams.")
@click.option("--output", "folder", default=Path("build/soak"), type=click.Path(path_type=Path), help="Where it goes.")
def main(**options: Any) -> None:
    """Soak the whole server; writes figures.json and server.log, and exits with 1 if anything does not hold."""
    console = Console()
    folder: Path = options["folder"]
    shutil.rmtree(folder / "clients", ignore_errors=True)
    (folder / "clients").mkdir(parents=True)
    findings = None
    try:
        findings = asyncio.run(Soak(Options(**options), lambda line: print(line, flush=True)).run())
    except* (psutil.NoSuchProcess, OSError, RuntimeError) as group:
        console.print(f"DOES NOT HOLD: the server serves: {group.exceptions}", style="red", markup=False)
    if findings is None:
        console.print(f"Failed; the server's log is {folder / 'server.log'}")
        sys.exit(1)
    wrong = reasons(findings)
    write_json(folder / "figures.json", findings, wrong)
    console.print(table(findings))
    for reason in wrong:
        console.print(f"DOES NOT HOLD: {reason}", style="red", markup=False, soft_wrap=True)
    console.print(f"{'Failed' if wrong else 'All holds'}; the figures are in {folder / 'figures.json'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
