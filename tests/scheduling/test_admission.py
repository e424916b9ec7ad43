"""What can be ready in time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling import policy
from nasfeat_server.scheduling.admission import Device, frames_ahead, ready_in_s
from nasfeat_server.scheduling.lanes import Lanes
from nasfeat_server.scheduling.latency import UNKNOWN, LatencyModel

_WEIGHTS = st.sampled_from([0.25, 1.0, 4.0])


class _Frame:
    deadline = None

    def __init__(self, lane: int) -> None:
        self.lane = lane


@given(
    own=st.integers(0, 10),
    weight=_WEIGHTS,
    others=st.lists(st.tuples(st.integers(1, 30), _WEIGHTS), max_size=6),
)
def test_the_frames_ahead_are_those_that_are_served_ahead(
    own: int, weight: float, others: list[tuple[int, float]]
) -> None:
    """Against the lanes themselves, served one by one: the estimate is off by a turn of each stream at most."""
    lanes: Lanes[_Frame] = Lanes()
    mine = lanes.open(weight)
    for _ in range(own):
        lanes.push(_Frame(mine))
    for waiting, other in others:
        lane = lanes.open(other)
        for _ in range(waiting):
            lanes.push(_Frame(lane))
    estimate = frames_ahead(own, weight, others)
    last = _Frame(mine)
    lanes.push(last)
    ahead = 0
    while lanes.take(1)[0] is not last:
        ahead += 1
    assert abs(estimate - ahead) <= sum(2 * math.ceil(other) + 1 for _, other in others)


def test_a_stream_that_waits_little_passes_a_flood() -> None:
    """A hundred frames of one stream: the next frame of another has one of them ahead, of a HIGH one none."""
    assert frames_ahead(0, 1.0, [(100, 1.0)]) == 1
    assert frames_ahead(0, 4.0, [(100, 1.0)]) == 1
    assert frames_ahead(0, 0.25, [(100, 1.0)]) == 4
    assert frames_ahead(5, 1.0, [(100, 1.0)]) == 5 + 6


def test_the_time_is_that_of_the_devices_together() -> None:
    """Ten frames ahead, two devices of 50 frames a second each, the first free in 50 ms, its own batch is of two."""
    model = LatencyModel(base_s=0.02, per_frame_s=0.01)
    devices = [Device(model=model, limit=2, free_in_s=free_in_s) for free_in_s in (0.05, 0.2)]
    assert math.isclose(ready_in_s(10, devices), 0.05 + 10 / (2 * 2 / 0.04) + 0.04)
    assert math.isclose(ready_in_s(0, devices), 0.05 + 0.03)


@given(ahead=st.integers(0, 1000), limit=st.sampled_from([1, 4, 32]))
def test_nothing_is_refused_before_anything_is_known(ahead: int, limit: int) -> None:
    """One device without a measurement makes every estimate 0."""
    known = Device(model=LatencyModel(base_s=1.0, per_frame_s=1.0), limit=limit, free_in_s=5.0)
    assert ready_in_s(ahead, [known, Device(model=UNKNOWN, limit=limit, free_in_s=0.0)]) == 0


@given(deficit=st.floats(-3, 5))
def test_borrowing_ends_where_it_says(deficit: float) -> None:
    """A stream may be served ahead of its turn as long as it owes at most what it may borrow afterwards."""
    assert policy.may_borrow(deficit) == (deficit - 1 >= -policy.MOST_BORROWED)
