"""The names of ImageNet's classes.

`imagenet_classes.txt` has the 1000 classes of ILSVRC 2012 in the order of their WordNet ids, which is the order of
every published NASNet's outputs: the id of the noun in WordNet 3.0, a tab, and its words (Princeton University,
https://wordnet.princeton.edu; Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015).
"""

from importlib import resources

BACKGROUND = "background"
"""Class 0 of networks with 1001 classes: nothing of the others."""


def class_names(count: int) -> tuple[str, ...]:
    """Name the classes of a network with `count` outputs: 1000, or 1001 with the background first; else none."""
    if count not in (1000, 1001):
        return ()
    text = resources.files(__package__).joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    names = tuple(line.partition("\t")[2] for line in text.splitlines())
    return names if count == 1000 else (BACKGROUND, *names)
