"""The commands that look at features."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nasfeat_client.cli.answers import answers
from nasfeat_client.cli.options import with_session
from nasfeat_client.cli.pictures.sources import check_sources, pictures_of
from nasfeat_client.cli.plot import write_timeline
from nasfeat_client.cli.session import Session
from nasfeat_client.cli.sheet import Tile, check_ending, write_sheet
from nasfeat_client.cli.tables.errors import ItemError
from nasfeat_client.cli.vectors import FeatureTable, Vectors, change_of, cosines
from nasfeat_client.sync import FeatureClient

# A matrix of more fits no terminal.
_MOST_COMPARED = 64

_COLUMN = click.option("--column", help="The column of the table, if several are of vectors.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@with_session
def similar(sources: tuple[str, ...], **session: Any) -> int:
    """Compare pictures with each other.

    Prints the cosine of the angle between the feature vectors of every two: 1 for the same direction. A SOURCE is a
    picture or what stands for several, as in `nasfeat extract`.
    """
    opened = Session(**session)
    with opened.served() as (client, _):
        names, vectors = _vectors_of(client, sources)
    matrix = cosines(vectors, vectors)
    if opened.as_json:
        click.echo(json.dumps({"names": names, "cosines": matrix.tolist()}, indent=2))
        return 0
    table = Table("", *(str(number) for number in range(1, len(names) + 1)), title="cosine similarity")
    for number, (name, row) in enumerate(zip(names, matrix.tolist(), strict=True), start=1):
        table.add_row(Text(f"{number} {name}"), *(f"{value:.3f}" for value in row))
    Console().print(table)
    return 0


@click.command()
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("query")
@click.option("-k", "--top-k", type=click.IntRange(min=1), default=12, show_default=True, help="How many to find.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A contact sheet to write: the query and what was found, as .png or .html.",
)
@_COLUMN
@with_session
def search(table: Path, query: str, top_k: int, output: Path | None, column: str | None, **session: Any) -> int:
    """Find the pictures most like one.

    TABLE is what `nasfeat extract` or `nasfeat video` wrote, in Parquet; QUERY is a picture. Every row is compared, a
    part of the table at a time.
    """
    if output:
        check_ending(output)
    opened = Session(**session)
    with closing(FeatureTable(table, column)) as features, opened.served() as (client, model):
        features.check_model(model.identity)
        _, vectors = _vectors_of(client, (query,), most=1)
        found = features.most_like(vectors[0], top_k)
    if output:
        tiles = [Tile(name=one.label, lines=(one.label, f"{one.cosine:.4f}")) for one in found]
        write_sheet(output, [Tile(name=query, lines=(query, "the query")), *tiles], title=f"Most like {query}")
    if opened.as_json:
        document = {"query": query, "output": output and str(output), "found": [asdict(one) for one in found]}
        click.echo(json.dumps(document, indent=2))
        return 0
    shown = Table("", "picture", "cosine")
    for rank, one in enumerate(found, start=1):
        shown.add_row(str(rank), Text(one.label), f"{one.cosine:.4f}")
    Console().print(shown)
    return 0


@click.command()
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="timeline.png",
    show_default=True,
    help="The picture to write: .png, .svg or .pdf.",
)
@click.option(
    "--sensitivity",
    type=click.FloatRange(min=1),
    default=6.0,
    show_default=True,
    help="A cut is a change of so many times what is usual around it: less finds more.",
)
@_COLUMN
@_JSON
def timeline(table: Path, output: Path, sensitivity: float, column: str | None, *, as_json: bool) -> int:
    """Draw how a video's features change, and find its scenes.

    TABLE is what `nasfeat video` wrote, in Parquet. No server is needed.
    """
    with closing(FeatureTable(table, column)) as features:
        change = change_of(features, sensitivity=sensitivity)
    if not len(change.times_s):
        raise click.ClickException(f"{table} has no frames")
    write_timeline(output, change, title=f"{table.name}: frames {len(change.times_s)}, cuts {len(change.cuts)}")
    times = change.times_s[list(change.cuts)].tolist()
    if as_json:
        click.echo(json.dumps({"output": str(output), "frames": len(change.times_s), "cuts_s": times}, indent=2))
        return 0
    for number, time_s in enumerate(times, start=1):
        click.echo(f"cut {number} at {time_s:.3f} s")
    click.echo(f"{len(change.times_s)} frames, {len(times) + 1} scenes: wrote {output}")
    return 0


def _vectors_of(
    client: FeatureClient, sources: Sequence[str], *, most: int = _MOST_COMPARED
) -> tuple[list[str], Vectors]:
    """Extract the features of a few pictures: their names, and float32 [n, length].

    Raises:
        click.ClickException: one cannot be read or extracted, there are none, or too many.
    """
    check_sources(sources)
    names: list[str] = []
    vectors: list[Vectors] = []
    with closing(answers(client, pictures_of(sources))) as outcomes:
        for name, outcome in outcomes:
            if isinstance(outcome, ItemError):
                raise click.ClickException(f"{name}: {outcome.message}")
            if outcome.error:
                raise click.ClickException(f"{name}: {outcome.error.message}")
            if len(names) == most:
                raise click.ClickException(
                    f"{' '.join(sources)} has more pictures than {most}; extract them into a table"
                )
            names.append(name)
            vectors.append(outcome.vector)
    if not names:
        raise click.ClickException("there are no pictures")
    return names, np.stack(vectors)
