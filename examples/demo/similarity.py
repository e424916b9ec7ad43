"""Which pictures are alike, by the angle between their features."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("Agg")
from matplotlib import pyplot as plt

Matrix = npt.NDArray[np.float64]


def centred_cosines(vectors: npt.NDArray[np.float32]) -> Matrix:
    """Compare vectors [n, length] with each other: cosines [n, n], after the mean vector is taken off each.

    The features are averages of what is left after a ReLU, so none is negative and all point much the same way: their
    plain cosines are all high. Off the mean, what is special about each picture remains.
    """
    special = vectors - vectors.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(special, axis=1, keepdims=True)
    unit = special / np.maximum(lengths, np.finfo(np.float64).tiny)
    return np.asarray(unit @ unit.T, np.float64)


def nearest(cosines: Matrix) -> tuple[npt.NDArray[np.intp], Matrix]:
    """For each row, the column of the highest cosine, and that cosine."""
    best = cosines.argmax(axis=1)
    return best, np.take_along_axis(cosines, best[:, None], axis=1)[:, 0]


def nearest_other(cosines: Matrix) -> tuple[npt.NDArray[np.intp], Matrix]:
    """As `nearest`, for a square matrix whose diagonal is everybody with themselves and does not count."""
    others = cosines.copy()
    np.fill_diagonal(others, -np.inf)
    return nearest(others)


def draw(cosines: Matrix, names: Sequence[str], owners: Sequence[int], path: Path, title: str) -> None:
    """Draw a matrix of cosines of pictures as a PNG.

    Args:
        cosines: [n, n].
        names: of the groups of pictures.
        owners: the group of each of the n pictures, ascending.
        path: the file to write.
        title: what stands above.
    """
    sizes = np.bincount(owners, minlength=len(names))
    borders = sizes.cumsum() - 0.5
    figure, axes = plt.subplots(figsize=(9, 8), layout="constrained")
    drawn = axes.imshow(cosines, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    for border in borders[:-1]:
        axes.axhline(border, color="black", linewidth=0.5)
        axes.axvline(border, color="black", linewidth=0.5)
    middles = borders - sizes / 2
    axes.set_xticks(middles, names, rotation=45, ha="right")
    axes.set_yticks(middles, names)
    axes.set_title(title)
    figure.colorbar(drawn, label="cosine, off the mean vector", shrink=0.8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
