"""PostgreSQL with the pgvector extension."""

from datetime import datetime
from typing import Any

import click
import psycopg
from pgvector.psycopg import register_vector
from psycopg import sql

from nasfeat_client.cli.stores.store import DIGEST, ID, VECTOR, Rows, check_same_length, check_same_model

_TYPES = {str: "text", int: "bigint", float: "double precision", datetime: "timestamptz"}


class PostgresStore:
    """A table with a column for each of the features' table, the ids as its key, and a vector.

    Args:
        url: of the database.
        table: its name.
    """

    def __init__(self, url: str, table: str) -> None:
        self._name = table
        self._table = sql.Identifier(*table.split("."))
        self._checked = False
        try:
            self._connection = psycopg.connect(url)
            self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            register_vector(self._connection)
        except psycopg.Error as error:
            raise _refused(error) from error

    def put(self, rows: Rows) -> None:
        """See `Store.put`; rows that are put together are there together, or none of them."""
        columns = [ID, *rows.cells, DIGEST, VECTOR]
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        taken = sql.SQL(", ").join(
            sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(column)) for column in columns if column != ID
        )
        command = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
            self._table, names, sql.SQL(", ").join([sql.Placeholder()] * len(columns)), sql.Identifier(ID), taken
        )
        values = [(*rows.payload(row).values(), vector) for row, vector in enumerate(rows.vectors)]
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                if not self._checked:
                    self._prepare(cursor, rows)
                cursor.executemany(command, values)
        except psycopg.Error as error:
            raise _refused(error) from error
        self._checked = True

    def count(self) -> int:
        """See `Store.count`."""
        row = self._connection.execute(sql.SQL("SELECT count(*) FROM {}").format(self._table)).fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        """See `Store.close`."""
        self._connection.commit()
        self._connection.close()

    def _prepare(self, cursor: "psycopg.Cursor[Any]", rows: Rows) -> None:
        columns = {ID: "text PRIMARY KEY", **{name: _TYPES[type(values[0])] for name, values in rows.cells.items()}}
        columns |= {DIGEST: "text NOT NULL", VECTOR: f"vector({rows.vectors.shape[1]}) NOT NULL"}
        described = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in columns.items()
        )
        cursor.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(self._table, described))
        there = sql.SQL("SELECT {}, vector_dims({}) FROM {} LIMIT 1").format(
            sql.Identifier(DIGEST), sql.Identifier(VECTOR), self._table
        )
        first = cursor.execute(there).fetchone()
        if first:
            check_same_length(first[1], rows, self._name)
            check_same_model(first[0], rows, self._name)


def _refused(error: psycopg.Error) -> click.ClickException:
    return click.ClickException(f"PostgreSQL refuses: {str(error).strip()}")
