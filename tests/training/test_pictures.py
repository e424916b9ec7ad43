"""What a data folder may hold, and what is said of what it may not."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.training.pictures import Decoder, Picture, find_files, identify, read_pictures
from nasfeat_server.network.training.split import check_classes

if TYPE_CHECKING:
    from tests.training.conftest import Folder


def read(data: Path, decode: Decoder, *, skip: bool = False, said: list[str] | None = None) -> tuple[Picture, ...]:
    """Read a data folder's pictures at 32x32."""
    report = (said if said is not None else []).append
    return read_pictures(find_files(data)[1], decode, 32, skip_unreadable=skip, report=report)


def test_folders_are_classes(folder: "Folder", decode: Decoder) -> None:
    """Classes and files are sorted by name, folders in a class's folder are part of it, and hidden names are not."""
    data = folder(("coffee", "astronaut"), count=2)
    (data / "coffee" / "more").mkdir()
    (data / "coffee" / "01.jpg").rename(data / "coffee" / "more" / "99.jpg")
    (data / ".cache").mkdir()
    (data / "coffee" / ".DS_Store").write_bytes(b"?")
    labels, files = find_files(data)
    assert labels == ("astronaut", "coffee")
    assert [(file.label, file.path.name) for file in files] == [
        (0, "00.jpg"),
        (0, "01.jpg"),
        (1, "00.jpg"),
        (1, "99.jpg"),
    ]
    assert [picture.path for picture in read(data, decode)] == [file.path for file in files]


def test_one_class_is_not_enough(folder: "Folder", tmp_path: Path) -> None:
    """There must be two folders at least, in a directory that is there."""
    with pytest.raises(ConfigurationError, match=r"holds 1 folders; it takes one for each of 2 classes or more"):
        find_files(folder(("coffee",), count=1))
    with pytest.raises(ConfigurationError, match="is no directory"):
        find_files(tmp_path / "nowhere")


def test_an_empty_folder_is_named(folder: "Folder") -> None:
    """A class without any file is no class to learn."""
    data = folder(count=1)
    (data / "tea").mkdir()
    with pytest.raises(ConfigurationError, match="folders without any file: tea"):
        find_files(data)


def test_validation_takes_the_classes_of_the_training(folder: "Folder") -> None:
    """A validation folder may lack classes, and may not bring any."""
    labels, _ = find_files(folder(count=1))
    _, files = find_files(folder(("coffee",), count=1, name="validation"), labels)
    assert [file.label for file in files] == [1]
    with pytest.raises(ConfigurationError, match="has classes that the training data has not: rocket"):
        find_files(folder(("rocket",), count=1, name="other"), labels)


def test_unreadable_files_are_named_and_counted(folder: "Folder", decode: Decoder) -> None:
    """Empty, cut and other files are all told of at once, with what is wrong, and refused."""
    data = folder(count=2)
    (data / "coffee" / "empty.jpg").touch()
    (data / "coffee" / "notes.txt").write_text("sweet")
    whole = (data / "coffee" / "00.jpg").read_bytes()
    (data / "chelsea" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigurationError) as caught:
        read(data, decode)
    first, *named, last = str(caught.value).splitlines()
    assert first == "3 of 7 files cannot be read:"
    for line, name, problem in zip(
        named, ("cut.jpg", "empty.jpg", "notes.txt"), ("truncated", "0 bytes", "not an image"), strict=True
    ):
        assert name in line
        assert problem in line
    assert last == "remove them, or leave them out with --skip-unreadable"


def test_unreadable_files_can_be_left_out(folder: "Folder", decode: Decoder) -> None:
    """Told to, the rest is taken, and what is left out is still named; but no class is left out."""
    data = folder(count=2)
    (data / "coffee" / "empty.jpg").touch()
    said: list[str] = []
    assert len(read(data, decode, skip=True, said=said)) == 4
    assert "left out, as 1 of 5 files cannot be read" in said[-1]
    assert "empty.jpg" in said[-1]
    for path in (data / "coffee").iterdir():
        path.write_bytes(b"")
    pictures = read(data, decode, skip=True)
    with pytest.raises(ConfigurationError, match="no picture can be read of the classes coffee"):
        check_classes(("chelsea", "coffee"), pictures)


def test_a_list_of_unreadable_files_ends(folder: "Folder", decode: Decoder) -> None:
    """Twenty are named, all are counted."""
    data = folder(count=1)
    for number in range(30):
        (data / "coffee" / f"{number}.txt").touch()
    with pytest.raises(ConfigurationError, match=r"30 of 32 files cannot(.*\n){21}  and 10 more"):
        read(data, decode)


def test_a_picture_in_two_classes_is_refused(folder: "Folder", decode: Decoder) -> None:
    """The same bytes cannot be learned as two things; both files are named."""
    data = folder(count=2)
    (data / "coffee" / "02.jpg").write_bytes((data / "chelsea" / "01.jpg").read_bytes())
    with pytest.raises(
        ConfigurationError, match=r"pictures that are in two classes: 1\n  .*chelsea/01.jpg = .*coffee/02.jpg"
    ):
        check_classes(("chelsea", "coffee"), read(data, decode))


def test_data_are_known_by_their_content(folder: "Folder", decode: Decoder) -> None:
    """The identity holds the classes, the pictures' bytes, and which are held back."""
    data = folder(count=2)
    before = read(data, decode)
    same = identify(("a", "b"), before, ())
    assert same == identify(("a", "b"), read(data, decode), ())
    (data / "coffee" / "01.jpg").write_bytes((data / "coffee" / "00.jpg").read_bytes())
    others = (
        identify(("a", "b"), read(data, decode), ()),
        identify(("a", "c"), before, ()),
        identify(("a", "b"), before[1:], before[:1]),
    )
    assert len({same, *others}) == 4
