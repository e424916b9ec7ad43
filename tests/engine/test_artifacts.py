"""What was prepared is found again, checked, made once, and not deleted under a server that uses it."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nasfeat_server.engine.artifacts import ArtifactStore, artifact_key
from nasfeat_server.engine.hold import Hold
from nasfeat_server.errors import WeightsError
from nasfeat_server.network.spec import VARIANTS, NetworkSpec
from nasfeat_server.network.weights.values import Located


def ignore(_: str) -> None:
    """Hear no report."""


def names(directory: Path) -> set[str]:
    """Name the artifacts that are there."""
    return {path.name for path in directory.iterdir() if path.is_dir()}


class Maker:
    """Counts how often it made an artifact."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, directory: Path) -> None:
        """Make an artifact of one file."""
        self.made += 1
        (directory / "model").mkdir()
        (directory / "model" / "weights.bin").write_bytes(b"weights")


def test_it_is_made_once(tmp_path: Path) -> None:
    """The second time it is found."""
    make = Maker()
    places = {ArtifactStore(tmp_path, ignore).get("key", make) for _ in range(2)}
    assert make.made == 1
    assert (places.pop() / "model" / "weights.bin").read_bytes() == b"weights"


@pytest.mark.parametrize("damage", ["change", "remove", "add", "manifest"])
def test_a_damaged_one_is_made_anew(tmp_path: Path, damage: str) -> None:
    """Whatever differs from what was made is found, told, and mended."""
    make, told = Maker(), list[str]()
    place = ArtifactStore(tmp_path, ignore).get("key", make)
    file = place / "model" / "weights.bin"
    if damage == "change":
        file.write_bytes(b"wrights")
    elif damage == "remove":
        file.unlink()
    elif damage == "add":
        (place / "more").touch()
    else:
        (place / "manifest.json").write_text("{")
    assert ArtifactStore(tmp_path, told.append).get("key", make) == place
    assert make.made == 2
    assert file.read_bytes() == b"weights"
    assert not (place / "more").exists()
    assert any("damaged" in line for line in told)


def test_many_who_want_it_wait_for_one_who_makes_it(tmp_path: Path) -> None:
    """Others come while one makes it: they get what it made."""
    told = threading.Event()
    make = Maker()

    def slowly(directory: Path) -> None:
        assert told.wait(60)
        make(directory)

    def hear(line: str) -> None:
        if "waits for another process" in line:
            told.set()

    with ThreadPoolExecutor(4) as callers:
        places = list(callers.map(lambda _: ArtifactStore(tmp_path, hear).get("key", slowly), range(4)))
    assert make.made == 1
    assert len(set(places)) == 1


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    """A making that ends halfway leaves no artifact, and no rest of one."""

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise WeightsError("no such weights")

    store = ArtifactStore(tmp_path, ignore)
    with pytest.raises(WeightsError, match="no such weights"):
        store.get("key", fail)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_old_ones_go_unless_they_are_held(tmp_path: Path) -> None:
    """Beyond the number that is kept, what was used longest ago is deleted, but for what a server serves from."""
    store = ArtifactStore(tmp_path, ignore, keep=2)
    with Hold(str(store.get("held", Maker()))):
        for number, key in enumerate(("held", "old", "new")):
            place = store.get(key, Maker())
            os.utime(place / "manifest.json", (number, number))
        assert names(tmp_path) == {"held", "old", "new"}
        store.get("newer", Maker())
        assert names(tmp_path) == {"held", "new", "newer"}
    store.get("newest", Maker())
    assert names(tmp_path) == {"newer", "newest"}


def test_a_cache_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    """The operator reads which directory it is."""
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=str(tmp_path / "file")):
        ArtifactStore(tmp_path / "file" / "prepared", ignore).get("key", Maker())


def located(location: str, spec: NetworkSpec = VARIANTS["cifar"]) -> Located:
    """A source at `location`."""
    return Located(source=location, location=location, spec=spec, labels=(), trained=True)


def test_the_key_is_of_the_content(tmp_path: Path) -> None:
    """Weights moved elsewhere are the same, changed ones are not; neither are another network, engine or precision."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.ckpt.index").write_bytes(b"index")
        (tmp_path / name / "model.ckpt.data-00000-of-00001").write_bytes(b"data")
    here, there = (located(str(tmp_path / name / "model.ckpt")) for name in ("here", "there"))
    fp32, bf16 = {"precision": "fp32"}, {"precision": "bf16"}
    key = artifact_key(here, "openvino", fp32)
    assert artifact_key(there, "openvino", fp32) == key
    (tmp_path / "there" / "model.ckpt.data-00000-of-00001").write_bytes(b"date")
    others = {
        artifact_key(there, "openvino", fp32),
        artifact_key(here, "openvino", bf16),
        artifact_key(here, "openvino", fp32 | {"engine": "tensorflow"}),
        artifact_key(located(here.location, VARIANTS["mobile"]), "openvino", fp32),
        artifact_key(located("random:0"), "openvino", fp32),
        artifact_key(located("random:1"), "openvino", fp32),
    }
    assert len(others) == 6
    assert key not in others
