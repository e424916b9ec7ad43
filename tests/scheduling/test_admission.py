"""What can be ready in time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling import policy
from nasfeat_server.scheduling.admission import Means, frames_ahead, own_batch, ready_in_s
from nasfeat_server.scheduling.lanes import Lanes

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
    """Ten frames ahead at 100 a second, the first device free in 50 ms, and 40 ms for its own batch."""
    means = Means(rate=100.0, free_in_s=0.05, batch_s=0.04)
    assert math.isclose(ready_in_s(10, means), 0.05 + 10 / 100 + 0.04)
    assert math.isclose(ready_in_s(0, means), 0.05 + 0.04)


@given(ahead=st.integers(0, 1000))
def test_nothing_is_refused_before_anything_is_known(ahead: int) -> None:
    """One device without a measurement makes every estimate 0."""
    assert ready_in_s(ahead, Means(rate=math.inf, free_in_s=5.0, batch_s=1.0)) == 0


def test_the_batch_of_a_frame_is_a_prepared_size() -> None:
    """Alone in one of 1, behind two others in one of 2, and in none that is larger than there is."""
    assert [own_batch(ahead, (1, 2, 4)) for ahead in (0, 1, 2, 3, 100)] == [1, 2, 2, 4, 4]


@given(deficit=st.floats(-3, 5))
def test_borrowing_ends_where_it_says(deficit: float) -> None:
    """A stream may be served ahead of its turn as long as it owes at most what it may borrow afterwards."""
    assert policy.may_borrow(deficit) == (deficit - 1 >= -policy.MOST_BORROWED)
