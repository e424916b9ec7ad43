"""From lists of pictures to batches. Pictures stream: what is held is their names, and a few batches."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nasfeat_server.errors import InvalidImageError
from nasfeat_server.network.training.augment import augment
from nasfeat_server.network.training.pictures import Decoder, Picture

GONE = "could be read before and cannot any more"
"""Marks the error of a picture that has changed since it was checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Makes batches: float32 images [N, size, size, 3] of 0..1, and for each head a target [N, classes].

    Attributes:
        decode: as the server decodes.
        size: rows and columns that the network takes.
        classes: how many there are.
        heads: the outputs of the model that are trained.
        batch_size: pictures in a batch.
    """

    decode: Decoder
    size: int
    classes: int
    heads: tuple[str, ...]
    batch_size: int

    def evaluation(self, pictures: Sequence[Picture]) -> tf.data.Dataset:
        """Give each picture once, in order, with exactly the pixels that the server would compute on."""
        files = tf.data.Dataset.from_tensor_slices(_columns(pictures))
        served = files.map(
            lambda path, label: (self._read(path, self.size), self._targets(label)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        return served.batch(self.batch_size).prefetch(1)

    def training(
        self, pictures: Sequence[Picture], *, epochs: range, skip_steps: int, seed: int, changed: bool
    ) -> tf.data.Dataset:
        """Give every epoch's batches, each epoch in another order; pictures that fill no batch are left out.

        Args:
            pictures: at least `batch_size`.
            epochs: which ones; order and changes depend on an epoch's number, not on where a run started.
            skip_steps: batches of the first epoch that are not wanted.
            seed: of order and changes.
            changed: change pictures at random.
        """
        paths, labels = _columns(pictures)
        count = len(pictures) - len(pictures) % self.batch_size

        def order(epoch: Any) -> tf.data.Dataset:
            drawn = tf.argsort(tf.random.stateless_uniform((len(pictures),), (seed, epoch)), stable=True)[:count]
            return tf.data.Dataset.from_tensor_slices((drawn, epoch * count + tf.range(count, dtype=tf.int64)))

        def load(index: Any, number: Any) -> Any:
            return self._training_image(paths[index], (seed, number), changed=changed), self._targets(labels[index])

        numbers = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(order).skip(skip_steps * self.batch_size)
        images = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE)
        return images.batch(self.batch_size, drop_remainder=True).prefetch(2)

    def _training_image(self, path: Any, seed: tuple[int, Any], *, changed: bool) -> Any:
        if not changed:
            return self._read(path, self.size)
        # Crops are taken of the picture as the server stretches it, so that the network learns the proportions that
        # it will see. Twice the size is more detail than the pictures had that the original was trained on.
        return augment(self._read(path, 2 * self.size), self.size, seed)

    def _targets(self, label: Any) -> dict[str, Any]:
        target = tf.one_hot(label, self.classes)
        return dict.fromkeys(self.heads, target)

    def _read(self, path: Any, size: int) -> Any:
        pixels = tf.numpy_function(lambda name: _pixels(self.decode, name, size), [path], tf.uint8)
        return tf.cast(tf.ensure_shape(pixels, (size, size, 3)), tf.float32) / 255


def _columns(pictures: Sequence[Picture]) -> tuple[Any, Any]:
    paths = tf.constant([os.fsencode(picture.path) for picture in pictures], tf.string)
    return paths, tf.constant([picture.label for picture in pictures], tf.int32)


def _pixels(decode: Decoder, name: bytes, size: int) -> npt.NDArray[np.uint8]:
    path = Path(os.fsdecode(name))
    try:
        return decode(path.read_bytes(), size)
    except (OSError, InvalidImageError) as error:
        raise ValueError(f"{path} {GONE}: {error}") from error
