"""How pictures are read on a node."""

from pathlib import Path

import pytest

from nasfeat_client.cli.cluster import reading
from nasfeat_client.cli.cluster.locations import Location, Storage
from nasfeat_client.cli.cluster.plan import Item


def _block(*paths: Path) -> object:
    return reading.block_of([Item(Location.parse(str(path))) for path in paths])


def test_what_is_not_there_is_an_error_and_no_more(tmp_path: Path) -> None:
    """Nothing is tried again that would fail again, and the others come through."""
    (tmp_path / "a.jpg").write_bytes(b"a")

    def pause(_: float) -> None:
        raise AssertionError("there is nothing to wait for")

    block = _block(tmp_path / "a.jpg", tmp_path / "none.jpg")
    rows = reading.read(block, pause=pause).to_pylist()
    assert [(row["reason"], row["image"]) for row in rows] == [("", b"a"), ("INVALID_IMAGE", b"")]
    assert rows[1]["message"] == f"cannot read {tmp_path}/none.jpg: there is no such file"


def test_a_store_that_stutters_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pauses that grow; a picture is given up after four tries, and all of them together end the run."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    failures = {"a.jpg": 2, "b.jpg": 9}
    read = Storage.read

    def stuttering(storage: Storage, location: Location, most: int | None = None) -> bytes:
        name = Path(location.path).name
        failures[name] -= 1
        if failures[name] >= 0:
            raise OSError("SLOW_DOWN")
        return read(storage, location, most)

    monkeypatch.setattr(Storage, "read", stuttering)
    pauses: list[float] = []
    rows = reading.read(_block(tmp_path / "a.jpg", tmp_path / "b.jpg"), pause=pauses.append).to_pylist()
    assert [row["image"] for row in rows] == [b"a.jpg", b""]
    assert rows[1]["message"].endswith("b.jpg: SLOW_DOWN")
    assert sorted(pauses) == [0.5, 0.5, 1.0, 1.0, 2.0]
    with pytest.raises(reading.StorageError, match=r"b\.jpg nor 0 others: SLOW_DOWN"):
        reading.read(_block(tmp_path / "b.jpg"), pause=pauses.append)
