"""Evidence for a precision: how much its feature vectors differ from fp32's, on the device that serves."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasfeat_server.engine.interface import Engine, EngineOptions, PrecisionCheck
from nasfeat_server.errors import ConfigurationError
from nasfeat_server.network.outputs import FEATURE_VECTOR

_IMAGES, _FEATURES = "check_images.npy", "check_features.npy"


def write_reference(directory: Path, images: npt.NDArray[np.uint8], features: npt.NDArray[np.float32]) -> None:
    """Leave images uint8 [N, H, W, 3] and their fp32 feature vectors [N, F] in an artifact."""
    np.save(directory / _IMAGES, images)
    np.save(directory / _FEATURES, features)


def features_of(engine: Engine, images: npt.NDArray[np.uint8], batch: int) -> npt.NDArray[np.float32]:
    """Compute the feature vectors [N, F] of images [N, H, W, 3] in batches of a size that is warm, or of one."""
    whole = len(images) - len(images) % batch
    parts = [images[at : at + batch] for at in range(0, whole, batch)]
    parts += [images[at : at + 1] for at in range(whole, len(images))]
    return np.concatenate([np.array(engine.run(part, (FEATURE_VECTOR,))[FEATURE_VECTOR]) for part in parts])


def check_precision(engine: Engine, options: EngineOptions, batch: int) -> PrecisionCheck | None:
    """Hold a warm engine against the reference in its artifact; None for fp32, which has none.

    Args:
        engine: computes in the options' precision.
        options: where the reference is, and the cosine that is asked for.
        batch: a batch size that is warm.

    Raises:
        ConfigurationError: the mean cosine is below the floor.
    """
    if options.precision == "fp32" or options.artifact is None:
        return None
    images, expected = (np.load(Path(options.artifact) / name) for name in (_IMAGES, _FEATURES))
    similar = cosines(features_of(engine, images, batch), expected)
    check = PrecisionCheck(
        images=len(similar), mean_cosine=float(similar.mean()), min_cosine=float(similar.min(initial=1))
    )
    # Written so that NaN is refused too.
    if not check.mean_cosine >= options.precision_floor:
        raise ConfigurationError(
            f"{options.precision} differs too much from fp32: {check}, and the floor of the mean is "
            f"{options.precision_floor:g}; calibrate with more pictures of the kind that will come, take another "
            "precision, or allow it with --precision-floor"
        )
    return check


def cosines(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Compute the cosine of each pair of rows: [N, F], [N, F] -> [N]."""
    one, other = (vectors.astype(np.float64) for vectors in (found, expected))
    products: npt.NDArray[np.float64] = (one * other).sum(axis=1)
    lengths: npt.NDArray[np.float64] = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return products / lengths
