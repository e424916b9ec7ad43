"""The shared memory that decoded images and their outputs travel in, mapped by the server and every replica."""

import mmap
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# What a slot keeps for its outputs while it waits for the next image; more goes back to the system.
_KEPT_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaLayout:
    """The shape of an arena: `slots` places, each for one image and for up to `result_bytes` of outputs."""

    slots: int
    image_height: int
    image_width: int
    result_bytes: int

    @property
    def image_bytes(self) -> int:
        """Bytes of one uint8 RGB image."""
        return self.image_height * self.image_width * 3

    @property
    def row_bytes(self) -> int:
        """Bytes from one slot's outputs to the next slot's: whole pages, so that they can be given back."""
        return _whole_pages(self.result_bytes)

    @property
    def results_offset(self) -> int:
        """Where the outputs begin, on a page boundary."""
        return _whole_pages(self.slots * self.image_bytes)

    @property
    def size(self) -> int:
        """Bytes of the whole arena. Only those that are written take memory."""
        return self.results_offset + self.slots * self.row_bytes


def _whole_pages(count: int) -> int:
    return -(-count // mmap.PAGESIZE) * mmap.PAGESIZE


class Arena:
    """A mapping of the shared memory behind a file descriptor.

    The memory has no name: it is gone with the last process that holds it, however those die.

    Attributes:
        layout: the shape of the arena.
        fd: the file descriptor, to be inherited by replica processes.
        images: uint8 [slots, H, W, 3].
    """

    def __init__(self, layout: ArenaLayout, fd: int) -> None:
        """Map the memory behind `fd`, which has at least `layout.size` bytes."""
        self.layout = layout
        self.fd = fd
        self._memory = mmap.mmap(fd, layout.size)
        shape = (layout.slots, layout.image_height, layout.image_width, 3)
        self.images: npt.NDArray[np.uint8] = np.frombuffer(
            self._memory, np.uint8, count=layout.slots * layout.image_bytes
        ).reshape(shape)
        self._results: npt.NDArray[np.float32] = np.frombuffer(
            self._memory, np.float32, offset=layout.results_offset
        ).reshape(layout.slots, layout.row_bytes // 4)

    @classmethod
    def create(cls, layout: ArenaLayout) -> "Arena":
        """Make new shared memory of the shape `layout`, all zero.

        Raises:
            OSError: there is not enough memory.
        """
        fd = _anonymous_file()
        os.ftruncate(fd, layout.size)
        return cls(layout, fd)

    def put_results(self, slot: int, values: Iterable[npt.NDArray[np.float32]]) -> None:
        """Leave one image's outputs in `slot`, one behind the other."""
        row, used = self._results[slot], 0
        for value in values:
            row[used : used + value.size] = value.reshape(-1)
            used += value.size

    def take_results(self, slot: int, count: int) -> bytes:
        """Copy `count` bytes of outputs out of `slot`: float32, little-endian on every machine nasfeat runs on.

        The memory of large outputs goes back to the system, so that the arena is as large as its use and not as the
        sum of all that was ever asked for.
        """
        taken = bytes(self._results[slot, : count // 4].data)
        if count > _KEPT_BYTES:
            start = self.layout.results_offset + slot * self.layout.row_bytes
            self._memory.madvise(mmap.MADV_REMOVE, start + _KEPT_BYTES, _whole_pages(count) - _KEPT_BYTES)
        return taken

    def close(self) -> None:
        """Close the file descriptor; the mapping goes when the arrays do."""
        os.close(self.fd)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("nasfeat-arena")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
