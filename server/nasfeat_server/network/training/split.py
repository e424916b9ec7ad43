"""Which pictures are trained on, and which only measure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.training.pictures import Picture

_LISTED = 10

Split = tuple[tuple[Picture, ...], tuple[Picture, ...]]


def split(pictures: Sequence[Picture], share: float) -> Split:
    """Hold back about `share` of each class, at least one picture of which stays for training.

    A picture's content alone decides, so that it stays on its side when others are added, and copies of it stay
    together.

    Args:
        pictures: of all classes, in any order; no picture is in two classes.
        share: from 0 to under 1.

    Returns:
        The pictures to train on and those to validate with, each in the order given.
    """
    classes: dict[int, set[str]] = defaultdict(set)
    for picture in pictures:
        classes[picture.label].add(picture.digest)
    held: set[str] = set()
    for digests in classes.values():
        # The last one stays for training, whatever the share.
        held.update(digest for digest in sorted(digests)[:-1] if _position(digest) < share)
    training = tuple(picture for picture in pictures if picture.digest not in held)
    return training, tuple(picture for picture in pictures if picture.digest in held)


def _position(digest: str) -> float:
    """Place a digest in 0..1."""
    return int(digest[:13], 16) / 16**13


def check_classes(labels: Sequence[str], pictures: Sequence[Picture]) -> None:
    """Refuse data that teach two things of one picture, or nothing of a class.

    Raises:
        ConfigurationError: it names the files or the classes.
    """
    first: dict[str, Picture] = {}
    for picture in pictures:
        first.setdefault(picture.digest, picture)
    twice = [(first[picture.digest], picture) for picture in pictures if first[picture.digest].label != picture.label]
    if twice:
        raise ConfigurationError(f"pictures that are in two classes: {len(twice)}{_pairs(twice)}")
    found = {picture.label for picture in pictures}
    if missing := [label for index, label in enumerate(labels) if index not in found]:
        raise ConfigurationError(f"no picture can be read of the classes {', '.join(missing)}")


def check_apart(training: Iterable[Picture], validation: Iterable[Picture]) -> None:
    """Refuse a validation folder that holds pictures of the training folder.

    Raises:
        ConfigurationError: it names the files.
    """
    learned = {picture.digest: picture for picture in training}
    if shared := [(learned[other.digest], other) for other in validation if other.digest in learned]:
        raise ConfigurationError(
            f"pictures to validate with that are trained on as well: {len(shared)}{_pairs(shared)}"
        )


def _pairs(pairs: Sequence[tuple[Picture, Picture]]) -> str:
    listed = [f"{one.path} = {other.path}" for one, other in pairs[:_LISTED]]
    return "\n  ".join(["", *listed, *[f"and {len(pairs) - _LISTED} more"] * (len(pairs) > _LISTED)])
