"""The picture of a video's change."""

from pathlib import Path

import click

from nasfeat_client.cli.tables.place import explained, reserved
from nasfeat_client.cli.vectors import Change


def write_timeline(path: Path, change: Change, *, title: str) -> None:
    """Draw how a video changes over time, and its cuts, into a PNG, SVG or PDF file.

    Raises:
        click.ClickException: it cannot be written, or matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - it needs the plot extra, and this says so
    except ModuleNotFoundError as error:
        raise click.ClickException(f"a timeline needs the plot extra: pip install 'nasfeat[plot]' ({error})") from error
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for cut in change.cuts:
        axes.axvline(change.times_s[cut], color="#d62728", linewidth=0.8, alpha=0.7)
    axes.plot(change.times_s, change.distances, color="#1f77b4", linewidth=1)
    axes.set(title=title, xlabel="seconds", ylabel="change: 1 - cosine", xmargin=0.01)
    axes.set_ylim(bottom=0)
    with reserved(path) as place, explained(path):
        try:
            figure.savefig(place.temporary, format=path.suffix.lower().removeprefix(".") or "png", dpi=150)
        except ValueError as error:
            raise click.UsageError(f"{path}: {error}") from error
        place.fill()
