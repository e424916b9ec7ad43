"""What a run on a cluster has to do: which pictures there are, and in which parts."""

from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_client.cli.cluster.locations import Location, Storage
from nasfeat_client.cli.cluster.plan import Item, items_of, part_name, parts_of


def _names(sources: Sequence[str]) -> list[str]:
    return [item.location.name for item in items_of(sources)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s3://bucket/a/b.jpg", "s3://bucket/a/b.jpg"),
        ("s3://bucket/a b?.jpg", "s3://bucket/a b?.jpg"),
        ("s3://bucket/a?region=eu-north-1&scheme=http", "s3://bucket/a"),
        ("s3://bucket", "s3://bucket/"),
        ("file:///a/b.jpg", "/a/b.jpg"),
        ("/a/b?x=y.jpg", "/a/b?x=y.jpg"),
    ],
)
def test_a_location_is_named_without_the_options_of_its_store(text: str, name: str) -> None:
    """Keys may have spaces and question marks; only KEY=VALUE at the end are options."""
    location = Location.parse(text)
    assert location.name == name
    assert Location.parse(str(location)) == location


def test_pictures_are_found_in_one_order(tmp_path: Path) -> None:
    """A folder has all below it by their names, hidden ones and others left out; patterns and lists name theirs."""
    for name in ("b/2.jpg", "b/1.PNG", "a.jpg", ".hidden/3.jpg", "b/.4.jpg", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/b/2.jpg\n\n{tmp_path}/missing.jpg\n")
    here = str(tmp_path)
    assert _names([here]) == [f"{here}/a.jpg", f"{here}/b/1.PNG", f"{here}/b/2.jpg"]
    assert _names([f"{here}/**/*.jpg"]) == [f"{here}/a.jpg", f"{here}/b/2.jpg"]
    assert _names([f"{here}/list.txt"]) == [f"{here}/b/2.jpg", f"{here}/missing.jpg"]
    assert _names([f"{here}/missing.jpg"]) == [f"{here}/missing.jpg"]
    assert [item.nbytes for item in items_of([here])] == [5, 5, 5]


def test_what_stands_for_nothing_is_refused(tmp_path: Path) -> None:
    """The message names it."""
    for source, message in (
        (f"{tmp_path}/nothing", "there is nothing at"),
        (f"{tmp_path}/*.jpg", "no picture fits"),
        (f"{tmp_path}/a.tar", "archives are read by the command alone"),
        (f"{tmp_path}/none.txt", "cannot read .*none.txt: there is no such file"),
        ("nowhere://bucket/a.jpg", "nowhere://bucket cannot be opened: .*Protocol not known: nowhere"),
    ):
        with pytest.raises(click.ClickException, match=message):
            list(items_of([source]))


def test_stores_that_only_fsspec_knows_are_read_and_written() -> None:
    """Names begin with the scheme, as they were given."""
    folder = Location.parse("memory://bucket/photos")
    Storage(folder).write(folder.below("a/1.jpg"), b"123")
    assert _names([str(folder)]) == ["memory://bucket/photos/a/1.jpg"]
    assert Storage(folder).read(folder.below("a/1.jpg")) == b"123"


@given(
    names=st.lists(st.integers(0, 30).map(str), max_size=40),
    done=st.sets(st.integers(0, 30).map(str)),
    most=st.integers(1, 7),
)
def test_every_picture_is_in_one_part(names: list[str], done: set[str], most: int) -> None:
    """Those that are done are in none, and no part has more than it may."""
    done = {f"/{name}" for name in done}
    parts = list(parts_of((Item(Location("", f"/{name}")) for name in names), done, most))
    shared = [item.location.name for part in parts for item in part]
    assert shared == [f"/{name}" for name in dict.fromkeys(names) if f"/{name}" not in done]
    assert all(0 < len(part) <= most for part in parts)


def test_large_pictures_make_small_parts() -> None:
    """A part has 256 MiB at most, where the sizes are known, but for a picture that is larger alone."""
    sizes = (100, 100, 100, 300, 0)
    items = [Item(Location("", f"/{number}"), size * 2**20) for number, size in enumerate(sizes)]
    assert [len(part) for part in parts_of(items, set(), 10)] == [2, 1, 1, 1]


def test_a_part_is_named_by_its_pictures() -> None:
    """The same in the same order have the same name; names that only look alike when put together do not."""
    assert part_name(["a", "bc"]) == part_name(["a", "bc"])
    assert len({part_name(names) for names in (["a", "bc"], ["ab", "c"], ["bc", "a"], ["abc"])}) == 4
