"""What stands for pictures: folders, patterns, lists, archives, stdin."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click
import pyarrow.parquet as pq
import pytest

from nasfeat_client.cli.pictures.sources import check_sources, count_of, pictures_of
from nasfeat_client.testing import FakeFeatureServer

Nasfeat = Callable[..., tuple[int, str, str]]

_TREE = ("b.jpg", "a.JPEG", "z/c.png", "z/deep/d.webp", "y/e.tiff", "notes.md", ".hidden.jpg", ".git/f.jpg", "y/g.mp4")
_PICTURES = ("a.JPEG", "b.jpg", "y/e.tiff", "z/c.png", "z/deep/d.webp")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with pictures, whose content is their name, and other files; the tests run beside it."""
    folder = tmp_path / "photos"
    for name in _TREE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return folder


def read(*sources: str) -> dict[str, bytes]:
    """Read what `sources` stand for."""
    found = {}
    for picture in pictures_of(sources):
        image = picture.read()
        found[picture.name] = image if isinstance(image, bytes) else Path(str(image)).read_bytes()
    return found


def _tar(path: Path, mode: Literal["w", "w:gz", "w:xz"], tree: Path) -> None:
    with tarfile.open(path, mode) as tar:
        for name in _TREE:
            tar.add(tree / name, name)


def test_a_folder_is_searched_for_pictures(tree: Path) -> None:
    """By their endings, in and below it, in one order whatever the disk says; hidden ones are left alone."""
    assert list(read("photos").items()) == [(f"photos/{name}", name.encode()) for name in _PICTURES]
    assert count_of(["photos", "photos/b.jpg"]) == 6


def test_a_link_to_a_folder_is_not_followed(tree: Path) -> None:
    """It could lead back up; a link to a picture is one."""
    (tree / "z/up").symlink_to(tree)
    (tree / "z/x.jpg").symlink_to(tree / "b.jpg")
    assert set(read("photos/z")) == {"photos/z/c.png", "photos/z/x.jpg", "photos/z/deep/d.webp"}


def test_a_pattern_is_matched(tree: Path) -> None:
    """Also below folders; one that fits nothing is wrong usage; a file of that very name is a picture."""
    assert list(read("photos/*.j*")) == ["photos/b.jpg"]
    assert set(read("photos/**/*")) == {f"photos/{name}" for name in _PICTURES}
    with pytest.raises(click.UsageError, match=r"no picture fits photos/\*\.bmp"):
        check_sources(["photos", "photos/*.bmp"])
    Path("[1].jpg").write_bytes(b"one")
    assert read("[1].jpg") == {"[1].jpg": b"one"}


def test_a_list_is_followed(tree: Path) -> None:
    """A path a line, whatever bytes it is of."""
    odd = os.fsdecode(b"photos/\xff.jpg")
    Path(odd).write_bytes(b"odd")
    Path("list.txt").write_bytes(b"photos/b.jpg\r\n\nphotos/\xff.jpg\nphotos/z/c.png")
    assert list(read("list.txt").values()) == [b"b.jpg", b"odd", b"z/c.png"]
    assert count_of(["list.txt"]) == 3
    with pytest.raises(click.ClickException, match=r"cannot read none\.txt: No such file"):
        read("none.txt")
    assert count_of(["none.txt"]) is None


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz")]
)
def test_a_tar_archive_is_read_through(tree: Path, name: str, mode: Literal["w", "w:gz", "w:xz"]) -> None:
    """Its pictures in its own order, without unpacking it."""
    _tar(Path(name), mode, tree)
    expected = [(f"{name}/{one}", one.encode()) for one in _TREE if one in _PICTURES]
    assert list(read(name).items()) == expected
    assert count_of([name]) is None


def test_a_zip_archive_is_read_through(tree: Path) -> None:
    """A damaged picture in it fails alone."""
    with zipfile.ZipFile("a.zip", "w") as archive:
        for name in _TREE:
            archive.write(tree / name, name)
    assert list(read("a.zip").items()) == [(f"a.zip/{name}", name.encode()) for name in _TREE if name in _PICTURES]
    assert count_of(["a.zip"]) == 5
    content = Path("a.zip").read_bytes()
    Path("bad.zip").write_bytes(content.replace(b"a.JPEGa.JPEG", b"a.JPEGb.JPEG"))
    found = pictures_of(["bad.zip"])
    assert next(found).read() == b"b.jpg"
    with pytest.raises(OSError, match="Bad CRC-32"):
        next(found).read()
    assert next(found).read() == b"z/c.png"


def test_damaged_archives_are_named(tree: Path) -> None:
    """Cut off, or no archive at all."""
    _tar(Path("a.tar.gz"), "w:gz", tree)
    content = Path("a.tar.gz").read_bytes()
    Path("cut.tar.gz").write_bytes(content[:-20])
    Path("text.tar").write_text("no archive")
    Path("text.zip").write_text("no archive")
    for name in ("cut.tar.gz", "text.tar", "text.zip", "none.tar"):
        with pytest.raises(click.ClickException, match=rf"cannot read {name}: "):
            read(name)


def _with_stdin(content: bytes, server: FakeFeatureServer) -> list[str]:
    command = [sys.executable, "-c", "from nasfeat_client.cli import run; run()", "extract", "-"]
    environment = os.environ | {"NASFEAT_TARGET": server.target}
    subprocess.run(command, input=content, check=True, env=environment, capture_output=True)
    return list(pq.read_table("features.parquet")["name"].to_pylist())


def test_stdin_is_a_list_or_an_archive(tree: Path, threaded_server: FakeFeatureServer) -> None:
    """Told apart by how it begins, compressed or not."""
    assert _with_stdin(b"photos/z/c.png\nphotos/b.jpg\n", threaded_server) == ["photos/z/c.png", "photos/b.jpg"]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(tree, "in")
    names = sorted(f"in/{name}" for name in _PICTURES)
    assert sorted(_with_stdin(packed.getvalue(), threaded_server)) == names
    assert sorted(_with_stdin(gzip.compress(packed.getvalue()), threaded_server)) == names


def test_the_command_takes_them_all(tree: Path, nasfeat: Nasfeat) -> None:
    """One table for several sources, and the paths as they were given."""
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write(tree / "b.jpg", "b.jpg")
    code, *_ = nasfeat("extract", "photos/z", "a.zip", "photos/b.jpg", "--json")
    assert code == 0
    names = pq.read_table("features.parquet")["name"].to_pylist()
    assert names == ["photos/z/c.png", "photos/z/deep/d.webp", "a.zip/b.jpg", "photos/b.jpg"]
    Path("empty").mkdir()
    code, _, err = nasfeat("extract", "empty")
    assert (code, err) == (1, "Error: there are no pictures\n")
    code, _, err = nasfeat("extract", "photos/*.gif")
    assert code == 2
    assert "no picture fits photos/*.gif" in err


def test_a_list_on_stdin_may_come_slowly(tree: Path, threaded_server: FakeFeatureServer) -> None:
    """Each picture is answered when its path comes, not when there are enough of them."""
    command = [sys.executable, "-c", "from nasfeat_client.cli import run; run()", "extract", "-", "-o", "-"]
    environment = os.environ | {"NASFEAT_TARGET": threaded_server.target}
    with subprocess.Popen(
        [*command, "--format", "jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        if not (process.stdin and process.stdout):
            raise AssertionError("both are pipes")
        for name in ("photos/b.jpg", "photos/z/c.png"):
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["name"] == name
        process.stdin.close()
    assert process.returncode == 0


def test_a_reader_that_goes_away_ends_the_run(tree: Path, threaded_server: FakeFeatureServer) -> None:
    """As `head` does: one line of complaint, and no traceback."""
    program = f"{sys.executable} -c 'from nasfeat_client.cli import run; run()'"
    Path("list.txt").write_text("photos/b.jpg\n" * 200)
    line = f"{program} extract list.txt -o - --format jsonl | head -n 1 | wc -l"
    environment = os.environ | {"NASFEAT_TARGET": threaded_server.target}
    done = subprocess.run(["/bin/bash", "-c", line], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert "Error: cannot write to stdout: Broken pipe" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
