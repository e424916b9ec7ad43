"""The shared memory that decoded images and feature vectors travel in, mapped by the server and every replica."""

import mmap
import os
import tempfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaLayout:
    """The shape of an arena: `slots` places, each for one image and its feature vector."""

    slots: int
    image_height: int
    image_width: int
    feature_length: int

    @property
    def image_bytes(self) -> int:
        """Bytes of one uint8 RGB image."""
        return self.image_height * self.image_width * 3

    @property
    def features_offset(self) -> int:
        """Where the feature vectors begin, on a page boundary."""
        return -(-self.slots * self.image_bytes // mmap.PAGESIZE) * mmap.PAGESIZE

    @property
    def size(self) -> int:
        """Bytes of the whole arena."""
        return self.features_offset + self.slots * self.feature_length * 4


class Arena:
    """A mapping of the shared memory behind a file descriptor.

    The memory has no name: it is gone with the last process that holds it, however those die.

    Attributes:
        layout: the shape of the arena.
        fd: the file descriptor, to be inherited by replica processes.
        images: uint8 [slots, H, W, 3].
        features: float32 [slots, feature_length].
    """

    def __init__(self, layout: ArenaLayout, fd: int) -> None:
        """Map the memory behind `fd`, which has at least `layout.size` bytes."""
        self.layout = layout
        self.fd = fd
        memory = mmap.mmap(fd, layout.size)
        shape = (layout.slots, layout.image_height, layout.image_width, 3)
        self.images: npt.NDArray[np.uint8] = np.frombuffer(
            memory, np.uint8, count=layout.slots * layout.image_bytes
        ).reshape(shape)
        self.features: npt.NDArray[np.float32] = np.frombuffer(
            memory, np.float32, offset=layout.features_offset
        ).reshape(layout.slots, layout.feature_length)

    @classmethod
    def create(cls, layout: ArenaLayout) -> "Arena":
        """Make new shared memory of the shape `layout`, all zero.

        Raises:
            OSError: there is not enough memory.
        """
        fd = _anonymous_file()
        os.ftruncate(fd, layout.size)
        return cls(layout, fd)

    def take_features(self, slot: int) -> bytes:
        """Copy the feature vector of `slot` out: float32, little-endian on every machine nasfeat runs on."""
        return bytes(self.features[slot].data)

    def close(self) -> None:
        """Close the file descriptor; the mapping goes when the arrays do."""
        os.close(self.fd)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("nasfeat-arena")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
