"""What the peers serve: a model that touches nothing, or the exported network by TensorFlow; and how JPEGs are read."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

NULL = "null"
NULL_LENGTH = 4032
MAX_BATCH = 16

Model = Callable[[Any], Any]


def load_model(location: str) -> Model:
    """Load the model at `location`: "null", or the directory of a SavedModel.

    Returns:
        A function of pictures, uint8 [N, size, size, 3], that gives features, float32 [N, length].
    """
    return _null() if location == NULL else _saved_model(Path(location))


def _null() -> Model:
    features = np.zeros((MAX_BATCH, NULL_LENGTH), np.float32)
    return lambda pictures: features[: len(pictures)]


def _saved_model(directory: Path) -> Model:
    import tensorflow as tf

    # Kept by what is returned: its variables go with it.
    module = tf.saved_model.load(str(directory))
    infer = module.signatures["default"]
    size = infer.structured_input_signature[1]["images"].shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8)], autograph=False)  # type: ignore[untyped-decorator]
    def run(pictures: Any) -> Any:
        return infer(images=tf.cast(pictures, tf.float32) / 255)["default"]

    # The first runs are slow; a server says that it is ready after them.
    for batch in (1, 2):
        run(tf.zeros((batch, size, size, 3), tf.uint8))
    return functools.partial(_features, module, run)


def _features(_module: Any, run: Any, pictures: Any) -> Any:
    return run(pictures).numpy()


def pixels_of(data: bytes, size: int) -> Any:
    """Turn the bytes of a request into pixels, uint8 [size, size, 3]; raw ones are not copied.

    What is not as long as raw pixels is a JPEG, decoded by the library that nasfeat uses.

    Raises:
        ValueError: the picture is of another size, or no picture.
    """
    if len(data) == size * size * 3:
        return np.frombuffer(data, np.uint8).reshape(size, size, 3)
    pixels = simplejpeg.decode_jpeg(data)
    if pixels.shape != (size, size, 3):
        raise ValueError(f"the picture is {pixels.shape[1]}x{pixels.shape[0]}; it must be {size}x{size}")
    return pixels


def batch_of(requests: Sequence[bytes], size: int) -> Any:
    """Turn the bytes of N requests into one batch, uint8 [N, size, size, 3]; a single one is not copied."""
    if len(requests) == 1:
        return pixels_of(requests[0], size)[None]
    return np.stack([pixels_of(request, size) for request in requests])
