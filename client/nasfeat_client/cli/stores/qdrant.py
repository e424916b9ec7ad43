"""Qdrant: a server, or a folder in its embedded mode."""

from typing import Any

import click
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from nasfeat_client.cli.stores.store import DIGEST, Rows, check_same_length, check_same_model, point_id


class QdrantStore:
    """A collection of points: their payload has the columns, their vectors are compared by cosine.

    Args:
        location: the URL of a server, or a folder.
        collection: its name.
    """

    def __init__(self, location: str, collection: str) -> None:
        self._collection = collection
        self._checked = False
        if "://" in location:
            # Its check of versions warns from a thread of its own; who cannot be reached is told of soon enough.
            self._client = QdrantClient(url=location, check_compatibility=False)
        else:
            self._client = QdrantClient(path=location)

    def put(self, rows: Rows) -> None:
        """See `Store.put`."""
        try:
            if not self._checked:
                self._prepare(rows)
                self._checked = True
            self._client.upsert(
                self._collection,
                [
                    models.PointStruct(id=point_id(name), vector=vector.tolist(), payload=rows.payload(row))
                    for row, (name, vector) in enumerate(zip(rows.ids, rows.vectors, strict=True))
                ],
            )
        except ApiException as error:
            raise click.ClickException(f"Qdrant refuses: {error}") from error

    def count(self) -> int:
        """See `Store.count`."""
        return int(self._client.count(self._collection).count)

    def close(self) -> None:
        """See `Store.close`."""
        self._client.close()

    def _prepare(self, rows: Rows) -> None:
        if not self._client.collection_exists(self._collection):
            size = rows.vectors.shape[1]
            vectors = models.VectorParams(size=size, distance=models.Distance.COSINE)
            self._client.create_collection(self._collection, vectors_config=vectors)
            return
        vectors_there: Any = self._client.get_collection(self._collection).config.params.vectors
        check_same_length(vectors_there.size, rows, self._collection)
        points, _ = self._client.scroll(self._collection, limit=1)
        if points:
            check_same_model((points[0].payload or {}).get(DIGEST), rows, self._collection)
