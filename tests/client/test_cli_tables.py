"""The tables that commands write: every format holds the same, and says which model made it."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasfeat_client import UnexpectedReplyError
from nasfeat_client.cli.tables.arrow import identity_in, shapes_in
from nasfeat_client.cli.tables.formats import TableFormat, opened_table
from nasfeat_client.cli.tables.row import Row
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, fake_outputs, fake_vector

Nasfeat = Callable[..., tuple[int, str, str]]

_WHEN = datetime(2026, 11, 23, 12, 30, 15, 123456, UTC)


def _rows(count: int) -> list[Row]:
    generator = np.random.default_rng(0)
    return [
        Row(
            cells={"name": f"é{number}.jpg", "frame_id": number, "timestamp_s": number / 3, "captured_at": _WHEN},
            arrays={
                "features": generator.standard_normal(5, np.float32),
                "map": generator.standard_normal((2, 3, 4), np.float32),
            },
            identity=FAKE_MODEL.identity,
        )
        for number in range(count)
    ]


def _read(path: Path) -> dict[str, list[Any]]:
    """Read a table of any format, arrays flat."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            return {name: file[name].reshape(len(file["name"]), -1).tolist() for name in ("features", "map")} | {
                name: file[name].tolist() for name in ("name", "frame_id", "timestamp_s", "captured_at")
            }
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        columns: dict[str, list[Any]] = {name: [line[name] for line in lines] for name in lines[0]}
        return columns | {"map": [np.ravel(one).tolist() for one in columns["map"]]}
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    assert identity_in(table.schema) == FAKE_MODEL.identity
    assert shapes_in(table.schema) == {"features": (5,), "map": (2, 3, 4)}
    return dict(table.to_pydict())


@pytest.mark.parametrize("name", ["a.npz", "a.jsonl", "a.arrow", "a.parquet"])
def test_every_format_gives_back_what_was_written(tmp_path: Path, name: str) -> None:
    """To the last bit, in the order of the rows, and nothing else is left in the folder."""
    path = tmp_path / name
    rows = _rows(1500)
    table_format = {format_.value: format_ for format_ in TableFormat}[path.suffix[1:]]
    with opened_table(path, table_format) as table:
        for row in rows:
            table.add(row)
        assert not path.exists()
        table.finish()
    assert [found.name for found in tmp_path.iterdir()] == [name]
    columns = _read(path)
    assert columns["name"] == [row.cells["name"] for row in rows]
    assert columns["frame_id"] == list(range(1500))
    assert columns["timestamp_s"] == [number / 3 for number in range(1500)]
    when: Any = {"npz": _WHEN.timestamp(), "jsonl": _WHEN.isoformat()}.get(path.suffix[1:], _WHEN)
    assert columns["captured_at"] == [when] * 1500
    for array in ("features", "map"):
        expected = np.stack([row.arrays[array].ravel() for row in rows])
        np.testing.assert_array_equal(np.array(columns[array], np.float32), expected)


@pytest.mark.parametrize("table_format", list(TableFormat))
def test_a_table_that_is_not_finished_is_not_there(tmp_path: Path, table_format: TableFormat) -> None:
    """What stood in its place stays."""
    path = tmp_path / "table"
    path.write_text("old")

    def write() -> None:
        with opened_table(path, table_format) as table:
            for row in _rows(1100):
                table.add(row)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["table"]


def test_a_table_is_of_one_model(tmp_path: Path) -> None:
    """A server that is restarted with other weights is found out; another version of the server is no other model."""
    (row,) = _rows(1)
    newer = dataclasses.replace(row, identity=dataclasses.replace(row.identity, version="9"))
    other = dataclasses.replace(row, identity=dataclasses.replace(row.identity, weights_digest="sha256:other"))
    with opened_table(tmp_path / "a.parquet", TableFormat.PARQUET) as table:
        table.add(row)
        table.add(newer)
        with pytest.raises(UnexpectedReplyError, match=r"the model is .*sha256:other.*before it was .*sha256:fake"):
            table.add(other)


def _piped(*arguments: str, target: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-c", "from nasfeat_client.cli import run; run()", *arguments]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | {"NASFEAT_TARGET": target})


def test_stdout_is_an_arrow_stream(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """The rows, and nothing else: the summary goes to stderr."""
    done = _piped(
        "extract", "a.jpg", "none.jpg", "b.jpg", "-o", "-", "--outputs", "Cell_0", target=threaded_server.target
    )
    assert done.returncode == 1
    table = pa.ipc.open_stream(io.BytesIO(done.stdout)).read_all()
    assert table["name"].to_pylist() == ["a.jpg", "b.jpg"]
    expected = [fake_outputs(photo)["Cell_0"].ravel() for photo in (b"a", b"b")]
    np.testing.assert_array_equal(np.stack(table["Cell_0"].to_numpy()), expected)
    assert b"2 extracted, 1 failed in " in done.stderr
    assert b"wrote to stdout" in done.stderr
    assert not list(Path().glob("*.jsonl"))
    nothing = _piped("extract", "none.jpg", "-o", "-", target=threaded_server.target)
    assert (nothing.returncode, nothing.stdout) == (1, b"")
    assert b"wrote nothing" in nothing.stderr


def test_stdout_may_be_json_lines(nasfeat: Nasfeat, threaded_server: FakeFeatureServer) -> None:
    """Each with the name, the values and the model."""
    done = _piped("extract", "a.jpg", "b.jpg", "-o", "-", "--format", "jsonl", target=threaded_server.target)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["name"] for line in lines] == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(np.array(lines[1]["features"], np.float32), fake_vector(b"b"))
    assert (lines[0]["model"], lines[0]["weights_digest"]) == ("fake", "sha256:fake")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("-o", "features.csv"), "features.csv ends in none of .parquet, .pq, .npz, .jsonl"),
        (("-o", "-", "--format", "npz"), "to stdout go arrow and jsonl"),
        (("-o", "-", "--json"), "--json would put its document among the rows"),
    ],
)
def test_what_cannot_be_written_is_wrong_usage(nasfeat: Nasfeat, arguments: tuple[str, ...], complaint: str) -> None:
    """Before the server is asked."""
    code, _, err = nasfeat("extract", "a.jpg", *arguments)
    assert code == 2
    assert complaint in err


def test_a_format_may_be_named(nasfeat: Nasfeat) -> None:
    """Whatever the file is called."""
    assert nasfeat("extract", "a.jpg", "-o", "some.data", "--format", "parquet")[0] == 0
    assert pq.read_table("some.data").num_rows == 1
