"""Random changes to training pictures, as TF-Slim's Inception preprocessing makes them.

Source: tensorflow/models, research/slim/preprocessing/inception_preprocessing.py, `preprocess_for_train` and
`distort_color`. Every draw depends on the seed alone, so that a resumed run sees what an uninterrupted one would.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

_Change = Callable[[Any, Any], Any]

_AREA = (0.05, 1.0)
_ASPECT = (3 / 4, 4 / 3)


def augment(image: Any, size: int, seed: Any) -> Any:
    """Crop, mirror and colour a picture.

    Args:
        image: float32 [H, W, 3] in 0..1.
        size: rows and columns to return.
        seed: int32 or int64 [2]; what is drawn depends on nothing else.

    Returns:
        float32 [size, size, 3] in 0..1.
    """
    crop, mirror, colour = tf.unstack(tf.random.split(seed, 3))
    image = tf.image.resize(_cropped(image, crop), (size, size), antialias=True)
    image = tf.image.stateless_random_flip_left_right(image, mirror)
    return tf.ensure_shape(tf.clip_by_value(_coloured(image, colour), 0, 1), (size, size, 3))


def _cropped(image: Any, seed: Any) -> Any:
    """Take a tenth to all of the picture, up to a third wider or higher than it is.

    The range of areas begins at 5 %, as in the original, but a tenth of the box must be covered, which is the picture.
    """
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.constant([[[0, 0, 1, 1]]], tf.float32),
        seed,
        min_object_covered=0.1,
        aspect_ratio_range=_ASPECT,
        area_range=_AREA,
        max_attempts=100,
    )
    return tf.slice(image, begin, extent)


def _coloured(image: Any, seed: Any) -> Any:
    """Change brightness, saturation, hue and contrast, in one of four orders."""
    seeds = tf.random.split(seed, 5)
    brightness, saturation, hue, contrast = (
        lambda x, change=change, at=at: change(x, seeds[at])
        for at, change in enumerate((_brightness, _saturation, _hue, _contrast), 1)
    )
    orders = (
        (brightness, saturation, hue, contrast),
        (saturation, brightness, contrast, hue),
        (contrast, hue, brightness, saturation),
        (hue, saturation, contrast, brightness),
    )
    chosen = tf.random.stateless_uniform((), seeds[0], 0, len(orders), tf.int32)
    return tf.switch_case(chosen, [lambda order=order: _in_turn(image, order) for order in orders])


def _in_turn(image: Any, changes: tuple[Callable[[Any], Any], ...]) -> Any:
    for change in changes:
        image = change(image)
    return image


def _brightness(image: Any, seed: Any) -> Any:
    return tf.image.stateless_random_brightness(image, 32 / 255, seed)


def _saturation(image: Any, seed: Any) -> Any:
    return tf.image.stateless_random_saturation(image, 0.5, 1.5, seed)


def _hue(image: Any, seed: Any) -> Any:
    return tf.image.stateless_random_hue(image, 0.2, seed)


def _contrast(image: Any, seed: Any) -> Any:
    return tf.image.stateless_random_contrast(image, 0.5, 1.5, seed)
