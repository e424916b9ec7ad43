"""Which pictures are held back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.training.pictures import Picture
from nasfeat_server.network.training.split import check_apart, split

_DIGESTS = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
_CLASSES = st.lists(_DIGESTS, min_size=1, max_size=30, unique=True).map(
    lambda digests: tuple(picture(digest, index % 3 if index > 3 else 0) for index, digest in enumerate(digests))
)


def picture(digest: str, label: int = 0, name: str = "") -> Picture:
    """Make a picture of a digest."""
    return Picture(path=Path(name or digest), label=label, digest=digest)


@given(pictures=_CLASSES, share=st.floats(0, 0.999))
def test_nothing_is_lost_and_every_class_is_trained(pictures: tuple[Picture, ...], share: float) -> None:
    """Each picture is on one side, in its order, and each class has one for training."""
    training, validation = split(pictures, share)
    assert sorted(training + validation, key=pictures.index) == list(pictures)
    assert set(training).isdisjoint(validation)
    assert {one.label for one in training} == {one.label for one in pictures}
    assert list(training) == sorted(training, key=pictures.index)


@given(pictures=_CLASSES, more=_DIGESTS, share=st.floats(0, 0.999))
def test_adding_a_picture_moves_no_other(pictures: tuple[Picture, ...], more: str, share: float) -> None:
    """A picture that is held back stays so, unless it was kept for training as the only one that was left."""
    added = picture(more, 0, "added")
    before, after = split(pictures, share), split((*pictures, added), share)
    assert set(before[1]) <= set(after[1])
    moved = set(after[1]) - set(before[1]) - {added}
    assert all(sum(other.label == one.label for other in before[0]) == 1 for one in moved)


def test_copies_stay_together() -> None:
    """The same bytes under two names are on the same side: nothing is measured on what was learned."""
    pictures = tuple(picture(f"{digit:x}" * 64, 0, f"{digit}{copy}") for digit in range(16) for copy in "ab")
    training, validation = split(pictures, 0.5)
    assert len(training) == len(validation) == 16
    assert {one.digest for one in training}.isdisjoint({one.digest for one in validation})


def test_about_the_share_is_held_back() -> None:
    """Of digests all over the range, the share is; of share 0, none."""
    pictures = tuple(picture(f"{number:02x}" + "0" * 62, number % 2) for number in range(256))
    assert len(split(pictures, 0.25)[1]) == 64
    assert split(pictures, 0.0) == (pictures, ())


def test_a_validation_folder_with_trained_pictures_is_refused() -> None:
    """The same bytes on both sides are told of with both names."""
    check_apart([picture("a" * 64)], [picture("b" * 64)])
    with pytest.raises(ConfigurationError, match=r"validate with that are trained on as well: 1\n  mine = yours"):
        check_apart([picture("a" * 64, 0, "mine")], [picture("a" * 64, 0, "yours"), picture("b" * 64)])
