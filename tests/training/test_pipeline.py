"""The batches: what is in them, in which order, and what is changed at random."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nasfeat_server.network.training.pictures import Decoder, Picture

if TYPE_CHECKING:
    from tests.training.conftest import Folder

    from nasfeat_server.network.training.pipeline import Batches

SIZE = 32


@pytest.fixture
def pictures(folder: "Folder") -> tuple[Picture, ...]:
    """Seven pictures of two classes."""
    files = [(0, path) for path in sorted(folder(count=4).rglob("*.jpg"))][:7]
    return tuple(Picture(path=path, label=index % 2, digest="") for index, (_, path) in enumerate(files))


@pytest.fixture
def batches(decode: Decoder) -> "Batches":
    """Batches of two for a network with two heads."""
    from nasfeat_server.network.training.pipeline import Batches

    return Batches(decode=decode, size=SIZE, classes=2, heads=("logits", "auxiliary"), batch_size=2)


def taken(batches: "Batches", pictures: tuple[Picture, ...], **options: Any) -> list[Any]:
    """Give training batches as arrays."""
    dataset = batches.training(pictures, **{"skip_steps": 0, "seed": 7, "changed": False, **options})
    return list(dataset.as_numpy_iterator())


def test_evaluation_sees_what_the_server_computes_on(
    batches: "Batches", pictures: tuple[Picture, ...], decode: Decoder
) -> None:
    """Every picture comes once, in order, with the server's pixels by 255, and with a target for each head."""
    made = list(batches.evaluation(pictures).as_numpy_iterator())
    assert [len(images) for images, _ in made] == [2, 2, 2, 1]
    images = np.concatenate([images for images, _ in made])
    expected = np.stack([decode(picture.path.read_bytes(), SIZE) for picture in pictures])
    assert images.dtype == np.float32
    assert (images == expected.astype(np.float32) / np.float32(255)).all()
    for head in ("logits", "auxiliary"):
        targets = np.concatenate([targets[head] for _, targets in made])
        assert (targets == np.eye(2)[[picture.label for picture in pictures]]).all()


def test_each_epoch_has_its_own_order(batches: "Batches", pictures: tuple[Picture, ...], decode: Decoder) -> None:
    """An epoch gives whole batches of different pictures with their labels; another epoch or seed, another order."""
    known = {decode(picture.path.read_bytes(), SIZE).tobytes(): picture for picture in pictures}

    def order(**options: Any) -> list[Picture]:
        shown = []
        for images, targets in taken(batches, pictures, **options):
            for image, target in zip(np.rint(images * 255).astype(np.uint8), targets["logits"], strict=True):
                shown.append(known[image.tobytes()])
                assert target.argmax() == shown[-1].label
        return shown

    both = order(epochs=range(2))
    first, second = both[:6], both[6:]
    assert len(set(first)) == len(set(second)) == 6
    assert first != second
    assert order(epochs=range(1)) == first
    assert order(epochs=range(1), seed=8) != first


def test_going_on_is_as_never_having_stopped(batches: "Batches", pictures: tuple[Picture, ...]) -> None:
    """From the second step of the second epoch on, order and random changes are those of a run from the start."""
    whole = taken(batches, pictures, epochs=range(3), changed=True)
    assert len(whole) == 9
    rest = taken(batches, pictures, epochs=range(1, 3), skip_steps=1, changed=True)
    assert len(rest) == 5
    for (images, targets), (expected, labels) in zip(rest, whole[4:], strict=True):
        assert (images == expected).all()
        assert (targets["logits"] == labels["logits"]).all()


def test_random_changes_differ(batches: "Batches", pictures: tuple[Picture, ...]) -> None:
    """The same picture is changed otherwise in each epoch, stays in 0..1, and depends on the seed."""
    one = (*pictures[:2],)
    made = [np.sort(images, axis=0) for images, _ in taken(batches, one, epochs=range(4), changed=True)]
    made += [np.sort(images, axis=0) for images, _ in taken(batches, one, epochs=range(1), changed=True, seed=8)]
    assert len({images.tobytes() for images in made}) == 5
    for images in made:
        assert images.shape == (2, SIZE, SIZE, 3)
        assert images.min() >= 0
        assert images.max() <= 1


def test_crops_are_inceptions() -> None:
    """Crops take a tenth to all of a picture, at most a third wider or higher than it."""
    import tensorflow as tf

    from nasfeat_server.network.training.augment import _cropped

    picture = tf.zeros((120, 120, 3))
    shapes = np.array([_cropped(picture, (1, number)).shape[:2] for number in range(300)])
    areas, aspects = shapes.prod(axis=1) / 120**2, shapes[:, 1] / shapes[:, 0]
    assert 0.1 <= areas.min() < 0.15
    assert 0.9 < areas.max() <= 1
    assert 0.7 < aspects.min() < 0.8
    assert 1.25 < aspects.max() < 1.4


def test_colours_change_within_bounds() -> None:
    """Of a gray picture, brightness alone changes, by an eighth at most; a red one turns by a fifth of the hues."""
    import tensorflow as tf

    from nasfeat_server.network.training.augment import _coloured

    gray = np.array([_coloured(tf.fill((2, 2, 3), 0.5), (2, number))[0, 0] for number in range(50)])
    assert np.ptp(gray, axis=1).max() < 1e-5
    assert 0.08 < np.abs(gray - 0.5).max() <= 32 / 255 + 1e-6
    red = tf.tile(tf.constant([[[0.6, 0.4, 0.4]]]), (2, 2, 1))
    hues = np.array([tf.image.rgb_to_hsv(_coloured(red, (3, number)))[0, 0, 0] for number in range(50)])
    assert 0.15 < np.abs((hues + 0.5) % 1 - 0.5).max() <= 0.2 + 1e-3


def test_a_picture_that_is_gone_is_named(batches: "Batches", pictures: tuple[Picture, ...]) -> None:
    """A file that cannot be read any more stops the training with its name."""
    import tensorflow as tf

    gone = Picture(path=Path(f"{pictures[0].path}.gone"), label=0, digest="")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"\.gone could be read before and cannot any more: .*No such"
    ):
        taken(batches, (gone, pictures[1]), epochs=range(1))
