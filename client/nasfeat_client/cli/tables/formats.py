"""Which format a table has."""

import enum
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from nasfeat_client.cli.tables.arrow import arrow_stream, arrow_table
from nasfeat_client.cli.tables.lines import LinesTable, lines_table
from nasfeat_client.cli.tables.npz import npz_table
from nasfeat_client.cli.tables.parquet import parquet_table
from nasfeat_client.cli.tables.row import Table

STDOUT = Path("-")


class TableFormat(enum.StrEnum):
    """How a table is written."""

    PARQUET = "parquet"
    NPZ = "npz"
    JSONL = "jsonl"
    ARROW = "arrow"


_SUFFIXES = {
    ".parquet": TableFormat.PARQUET,
    ".pq": TableFormat.PARQUET,
    ".npz": TableFormat.NPZ,
    ".jsonl": TableFormat.JSONL,
    ".ndjson": TableFormat.JSONL,
    ".arrow": TableFormat.ARROW,
    ".feather": TableFormat.ARROW,
}
_OPEN: dict[TableFormat, Callable[[Path], AbstractContextManager[Table]]] = {
    TableFormat.PARQUET: parquet_table,
    TableFormat.NPZ: npz_table,
    TableFormat.JSONL: lines_table,
    TableFormat.ARROW: arrow_table,
}


def format_of(output: Path, asked: str | None) -> TableFormat:
    """Give the format asked for, or the one that the name of `output` tells; Arrow on stdout.

    Raises:
        click.UsageError: the name tells none, or the format cannot go to stdout.
    """
    if output != STDOUT:
        known = TableFormat(asked) if asked else _SUFFIXES.get(output.suffix.lower())
        if not known:
            raise click.UsageError(f"{output} ends in none of {', '.join(_SUFFIXES)}: say its --format")
        return known
    streamed = TableFormat(asked or TableFormat.ARROW)
    if streamed not in {TableFormat.ARROW, TableFormat.JSONL}:
        raise click.UsageError(f"{streamed} files are not written from front to back: to stdout go arrow and jsonl")
    if sys.stdout.isatty() and streamed is TableFormat.ARROW:
        raise click.UsageError("stdout is a terminal: pipe it to a program that reads Arrow, or take --format jsonl")
    return streamed


def opened_table(output: Path, table_format: TableFormat) -> AbstractContextManager[Table]:
    """Give a table that will be at `output`, or goes to stdout.

    Raises:
        click.ClickException: when it is opened: it cannot be written.
    """
    return _on_stdout(table_format) if output == STDOUT else _OPEN[table_format](output)


def _on_stdout(table_format: TableFormat) -> AbstractContextManager[Table]:
    stdout = sys.stdout.buffer
    return nullcontext(LinesTable(stdout, None)) if table_format is TableFormat.JSONL else arrow_stream(stdout)
