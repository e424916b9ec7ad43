"""The shared memory holds what it is given and costs what is in use."""

import os

import numpy as np

from nasfeat_server.engine.arena import Arena, ArenaLayout

LAYOUT = ArenaLayout(slots=3, image_height=5, image_width=7, result_bytes=2**20)


def test_outputs_lie_one_behind_the_other_in_their_own_slot() -> None:
    """What one slot holds, no other does, up to its last byte."""
    arena = Arena.create(LAYOUT)
    arena.put_results(1, [np.full((2, 3), 1, np.float32), np.full(2**18 - 6, 2, np.float32)])
    assert arena.take_results(1, 32) == np.array([1] * 6 + [2] * 2, np.float32).tobytes()
    for other in (0, 2):
        assert not any(arena.take_results(other, LAYOUT.result_bytes))
    arena.close()


def test_memory_of_large_outputs_goes_back() -> None:
    """After every slot has held a megabyte once, the memory in use is that of small results."""
    arena = Arena.create(LAYOUT)
    values = np.ones(2**18, np.float32)
    for slot in range(LAYOUT.slots):
        arena.put_results(slot, [values])
        assert os.fstat(arena.fd).st_blocks * 512 >= 2**20
        assert arena.take_results(slot, 2**20) == values.tobytes()
    assert os.fstat(arena.fd).st_blocks * 512 <= LAYOUT.slots * 2**16 + 2**14
    arena.put_results(0, [values])
    assert arena.take_results(0, 2**20) == values.tobytes()
    arena.close()
