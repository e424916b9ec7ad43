"""What a command says in the end."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nasfeat_client.cli.tables.errors import errors_path
from nasfeat_client.cli.tally import Tally
from nasfeat_client.result import Classification
from nasfeat_client.types import ModelIdentity, ModelInfo

_MEAN = "/mean"


def print_summary(
    tally: Tally,
    identity: ModelIdentity,
    output: Path | None,
    *,
    before: tuple[int, int],
    on_stdout: bool,
    as_json: bool,
) -> None:
    """Print a run's outcome on stdout, or on stderr if the table goes there.

    Args:
        tally: what became of the images of this run.
        identity: the model.
        output: the table; None if there is none.
        before: images that runs before have accounted for, and how many of them failed.
        on_stdout: the table goes there, even if it came to nothing.
        as_json: print one JSON document.
    """
    done, failed = before
    if as_json:
        counts = {"done_before": done, "failed_before": failed}
        document = {"output": output and str(output), **counts, **_outcome(tally, identity)}
        click.echo(json.dumps(document, indent=2))
        return
    written = "wrote nothing" if output is None else f"wrote {'to stdout' if on_stdout else output}"
    if (tally.failed or failed) and output and not on_stdout:
        written += f", errors in {errors_path(output)}"
    failures = f", {tally.failed} failed" if tally.failed else ""
    failures += f", {tally.dropped} dropped for newer ones" if tally.dropped else ""
    earlier = f", {done} done before" + f" ({failed} failed)" * (failed > 0) if done else ""
    rate = (tally.succeeded + tally.failed) / tally.elapsed_s
    if tally.ages_s:
        median_s, p99_s = np.percentile(tally.ages_s, (50, 99))
        click.echo(f"Age of the results: median {median_s:.3f} s, 99 of 100 under {p99_s:.3f} s", err=on_stdout)
    click.echo(
        f"{tally.succeeded} extracted{failures}{earlier} in {tally.elapsed_s:.1f} s ({rate:.1f}/s): {written}",
        err=on_stdout,
    )


def print_classes(
    tally: Tally,
    identity: ModelIdentity,
    classified: Sequence[tuple[str, tuple[Classification, ...]]],
    *,
    as_json: bool,
) -> None:
    """Print the names of images with their classes on stdout."""
    if as_json:
        results = [{"name": name, "classes": list(map(asdict, classes))} for name, classes in classified]
        click.echo(json.dumps({"results": results, **_outcome(tally, identity)}, indent=2))
        return
    table = Table("image", "class", "label", "probability")
    for name, classes in classified:
        for rank, found in enumerate(classes):
            cells = ("" if rank else name, str(found.class_index), found.label, f"{found.probability:.4f}")
            table.add_row(*map(Text, cells))
        table.add_section()
    if classified:
        Console().print(table)


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
    flat["labels"] = len(model.labels)
    check = model.precision_check
    flat["precision_check"] = (
        f"cosine to fp32 {check.mean_cosine:.4f} in the mean, {check.min_cosine:.4f} at least, {check.images} pictures"
        if check
        else "none"
    )
    flat["wiring"] = model.identity.wiring or "not told"
    flat["max_result_bytes"] = model.limits.max_result_bytes or "not told"
    for name in ("limits", "outputs", "output_shapes"):
        del flat[name]
    for name, value in flat.items():
        table.add_row(name.replace("_", " "), Text(str(value)))
    console = Console()
    console.print(table)
    console.print(_outputs_table(model))


def _outcome(tally: Tally, identity: ModelIdentity) -> dict[str, Any]:
    """Say how a run went, for JSON."""
    return {
        "images": tally.succeeded + tally.failed,
        "succeeded": tally.succeeded,
        "failed": tally.failed,
        "dropped": tally.dropped,
        "ages_s": _percentiles(tally.ages_s),
        "errors": [asdict(error) for error in tally.errors],
        "stopped_by": tally.stopped_by,
        "identity": asdict(identity),
        "mean_timings_s": tally.mean_timings_s(),
        "elapsed_s": tally.elapsed_s,
        "images_per_s": (tally.succeeded + tally.failed) / tally.elapsed_s,
    }


def _percentiles(ages_s: Sequence[float]) -> dict[str, float] | None:
    """Give the 50th, 90th and 99th percentile; None of nothing."""
    if not ages_s:
        return None
    return {f"p{rank}": float(np.percentile(ages_s, rank)) for rank in (50, 90, 99)}


def _outputs_table(model: ModelInfo) -> Table:
    """List the outputs, each map in one row with its average."""
    table = Table("output", "shape", f"NAME{_MEAN}")
    for name in model.outputs:
        if name.removesuffix(_MEAN) == name or name.removesuffix(_MEAN) not in model.outputs:
            table.add_row(Text(name), _shape_of(name, model), _shape_of(name + _MEAN, model))
    return table


def _shape_of(name: str, model: ModelInfo) -> str:
    return " x ".join(map(str, model.output_shapes.get(name, ())))
