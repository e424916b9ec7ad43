"""What a command says in the end."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from nasfeat_client.cli.tally import Tally
from nasfeat_client.types import ModelIdentity, ModelInfo


def print_summary(tally: Tally, identity: ModelIdentity, output: Path | None, *, as_json: bool) -> None:
    """Print a run's outcome on stdout; `output` is None if nothing was written."""
    succeeded, failed = len(tally.vectors), len(tally.errors)
    rate = (succeeded + failed) / tally.elapsed_s
    if as_json:
        document = {
            "output": output and str(output),
            "images": succeeded + failed,
            "succeeded": succeeded,
            "failed": failed,
            "errors": [asdict(error) for error in tally.errors],
            "stopped_by": tally.stopped_by,
            "identity": asdict(identity),
            "mean_timings_s": tally.mean_timings_s(),
            "elapsed_s": tally.elapsed_s,
            "images_per_s": rate,
        }
        click.echo(json.dumps(document, indent=2))
        return
    written = f"wrote {output}" if output else "wrote nothing"
    failures = f", {failed} failed" if failed else ""
    click.echo(f"{succeeded} vectors{failures} in {tally.elapsed_s:.1f} s ({rate:.1f}/s): {written}")


def print_model(model: ModelInfo, *, as_json: bool) -> None:
    """Print a model on stdout."""
    described = asdict(model)
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    flat = described.pop("identity") | described | described.pop("limits")
    flat["outputs"] = ", ".join(model.outputs)
    del flat["limits"]
    for name, value in flat.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table, highlight=False)
