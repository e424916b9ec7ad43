"""The command that pushes features to a database."""

import importlib
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from nasfeat_client.cli.progress import shown_progress
from nasfeat_client.cli.stores.store import Rows, Store
from nasfeat_client.cli.vectors import FeatureTable

_POSTGRES = ("postgres://", "postgresql://")
_QDRANT = "qdrant:"
_LANCE = ".lance"


@click.command()
@click.argument("table", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("destination")
@click.option(
    "--collection", default="features", show_default=True, help="Qdrant's collection, or the table in PostgreSQL."
)
@click.option("--column", help="The column of the table, if several are of vectors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and no progress.")
def push(table: Path, destination: str, collection: str, column: str | None, *, as_json: bool) -> int:
    """Push features into a vector database.

    TABLE is what `nasfeat extract` or `nasfeat video` wrote, in Parquet. DESTINATION is

    \b
      FOLDER.lance                 a Lance dataset                      pip install 'nasfeat[lance]'
      qdrant:http://HOST:6333      a Qdrant server, or qdrant:FOLDER    pip install 'nasfeat[qdrant]'
      postgresql://USER@HOST/DB    PostgreSQL with pgvector             pip install 'nasfeat[postgres]'

    Each row has an id: the picture's name, or the table's name and the frame's number. Rows that are pushed again take
    the place of those with their id, so that a push that was interrupted is simply begun anew. A collection holds the
    vectors of one model: those of another are refused.
    """  # noqa: D301 - click wants the character that is meant
    with closing(FeatureTable(table, column)) as features, closing(_opened(destination, collection)) as store:
        with shown_progress(features.rows, quiet=as_json) as progress:
            for cells, vectors in features.batches():
                columns = cells.to_pydict()
                ids = columns.get("name") or [f"{table.stem}#{number}" for number in columns["frame_id"]]
                digest = features.identity.weights_digest if features.identity else ""
                store.put(Rows(ids=ids, cells=columns, vectors=vectors, digest=digest))
                progress.advance(len(ids))
        there = store.count()
    if as_json:
        click.echo(json.dumps({"pushed": features.rows, "rows": there, "destination": destination}, indent=2))
    else:
        click.echo(f"{features.rows} pushed: {destination} has {there} rows now")
    return 0


def _opened(destination: str, collection: str) -> Store:
    """Connect to what `destination` names.

    Raises:
        click.UsageError: it names none.
        click.ClickException: its extra is not installed, or it cannot be reached.
    """
    if destination.startswith(_POSTGRES):
        return _made("postgres", "PostgresStore", destination, collection)
    if destination.startswith(_QDRANT):
        return _made("qdrant", "QdrantStore", destination.removeprefix(_QDRANT), collection)
    if destination.endswith(_LANCE):
        return _made("lance", "LanceStore", Path(destination))
    raise click.UsageError(f"{destination} is neither FOLDER{_LANCE}, nor {_QDRANT}..., nor {_POSTGRES[1]}...")


def _made(module: str, kind: str, *arguments: Any) -> Store:
    try:
        found = importlib.import_module(f"nasfeat_client.cli.stores.{module}")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"this needs the {module} extra: pip install 'nasfeat[{module}]' ({error})"
        ) from error
    store: Store = getattr(found, kind)(*arguments)
    return store
