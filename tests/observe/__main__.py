"""`make observe`: every query of the dashboard, the rules and the runbooks, asked of a real Prometheus."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from tests.observe.conductor import Options, observe
from tests.observe.judge import Verdict
from tests.observe.prometheus import PrometheusError
from tests.observe.report import summary, table, write_json


@click.command(context_settings={"show_default": True})
@click.option("--seconds", default=60.0, type=click.FloatRange(min=15), help="Of load, before the queries are asked.")
@click.option(
    "--output", "folder", default=Path("build/observe"), type=click.Path(path_type=Path), help="Where it goes."
)
def main(**options: Any) -> None:
    """Ask every query; writes queries.json and the logs, and exits with 1 if one is wrong or has no data."""
    # A log has no width of its own, and half of one would be cut off every line.
    console = Console(width=None if sys.stdout.isatty() else 150)
    folder: Path = options["folder"].resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        judged = asyncio.run(
            observe(Options(seconds=options["seconds"], folder=folder), lambda line: print(line, flush=True))
        )
    except* (PrometheusError, RuntimeError, TimeoutError) as group:
        console.print(f"Failed: {group.exceptions}", style="red", markup=False)
        sys.exit(1)
    write_json(folder / "queries.json", judged)
    console.print(table(judged))
    console.print(f"{summary(judged)}; the answers are in {folder / 'queries.json'}")
    sys.exit(1 if any(one.verdict is Verdict.FAILED for one in judged) else 0)


if __name__ == "__main__":
    main()
