"""The decisions of scheduling, by example and by property."""

import math

from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling import policy
from nasfeat_server.scheduling.latency import LatencyModel

_BUCKETS = (1, 2, 4, 8, 16, 32)
_WEIGHTS = st.sampled_from([0.25, 1.0, 4.0])
_LANES = st.lists(
    st.builds(policy.Lane, waiting=st.integers(1, 50), weight=_WEIGHTS, deficit=st.floats(-1, 4, exclude_max=True)),
    max_size=8,
)


def _share_out(lanes: list[policy.Lane], capacity: int) -> policy.Shares:
    return policy.share_out(lanes, capacity, sum(lane.weight for lane in lanes))


@given(lanes=_LANES, capacity=st.integers(0, 64))
def test_shares_fill_the_batch_and_take_no_more_than_waits(lanes: list[policy.Lane], capacity: int) -> None:
    """A batch is as full as the waiting frames allow, and no lane gives more than it has."""
    shares = _share_out(lanes, capacity)
    assert sum(shares.takes) == min(capacity, sum(lane.waiting for lane in lanes))
    assert all(0 <= take <= lane.waiting for take, lane in zip(shares.takes, lanes, strict=False))


@given(lanes=_LANES, capacity=st.integers(0, 64))
def test_every_lane_that_still_waits_has_one_next_turn(lanes: list[policy.Lane], capacity: int) -> None:
    """Lanes that were looked at go on first, come last or are empty; an empty lane is owed nothing."""
    shares = _share_out(lanes, capacity)
    left = [lane.waiting - take for lane, take in zip(lanes, shares.takes, strict=False)]
    assert sorted(shares.first + shares.last) == [index for index, count in enumerate(left) if count]
    assert all(shares.deficits[index] <= 0 for index, count in enumerate(left) if not count)
    assert all(shares.deficits[index] >= 1 for index in shares.first)


@given(lanes=_LANES, capacity=st.integers(1, 64))
def test_no_lane_gets_more_than_its_part_of_a_batch_unless_others_leave_room(
    lanes: list[policy.Lane], capacity: int
) -> None:
    """A lane above its weight's part of the batch, rounded up, took what no other lane wanted in its turn."""
    shares = _share_out(lanes, capacity)
    total = sum(lane.weight for lane in lanes)
    parts = [math.ceil(capacity * lane.weight / total) for lane in lanes]
    greedy = [index for index, take in enumerate(shares.takes) if take > parts[index]]
    if greedy:
        # Whoever had less than its part has nothing left to give.
        others = set(range(len(shares.takes))) - set(greedy)
        assert all(shares.takes[index] in (parts[index], lanes[index].waiting) for index in others)


class _Busy:
    """Lanes that never run empty, served batch by batch."""

    def __init__(self, weights: list[float]) -> None:
        self.weights = weights
        self.turns = list(range(len(weights)))
        self.deficits = [0.0] * len(weights)
        self.got = [0] * len(weights)

    def serve(self, capacity: int) -> None:
        """Share out one batch."""
        lanes = [
            policy.Lane(waiting=10**6, weight=self.weights[name], deficit=self.deficits[name]) for name in self.turns
        ]
        shares = policy.share_out(lanes, capacity, sum(self.weights))
        for name, take, deficit in zip(self.turns, shares.takes, shares.deficits, strict=False):
            self.got[name] += take
            self.deficits[name] = deficit
        unseen = self.turns[len(shares.takes) :]
        first, last = ([self.turns[index] for index in part] for part in (shares.first, shares.last))
        self.turns = first + unseen + last


@given(
    weights=st.lists(_WEIGHTS, min_size=1, max_size=6), batches=st.lists(st.integers(1, 32), min_size=1, max_size=60)
)
def test_busy_lanes_are_served_by_weight_whatever_the_batch_sizes(weights: list[float], batches: list[int]) -> None:
    """What a lane gets stays within two turns of its share by weight: nobody starves, nobody runs ahead."""
    busy = _Busy(weights)
    for capacity in batches:
        busy.serve(capacity)
    rounds = [count / weight for count, weight in zip(busy.got, weights, strict=True)]
    slack = [2 + 1 / weight for weight in weights]
    for one, own in zip(rounds, slack, strict=True):
        for other, theirs in zip(rounds, slack, strict=True):
            assert one - other <= own + theirs


@given(
    weights=st.lists(_WEIGHTS, min_size=1, max_size=6),
    batches=st.lists(st.integers(1, 32), min_size=1, max_size=80),
)
def test_no_lane_waits_longer_than_a_bound(weights: list[float], batches: list[int]) -> None:
    """Between two frames of a lane, the others get at most what 2 + ceil(1/w) rounds give them, and one batch."""
    busy = _Busy(weights)
    waited = [0] * len(weights)
    for capacity in batches:
        before = list(busy.got)
        busy.serve(capacity)
        for name, weight in enumerate(weights):
            waited[name] = 0 if busy.got[name] > before[name] else waited[name] + capacity
            rounds = 2 + math.ceil(1 / weight)
            bound = rounds * sum(math.ceil(other) + 1 for other in weights) + capacity
            assert waited[name] <= bound


def test_a_flood_takes_no_more_of_a_batch_than_its_turn() -> None:
    """One stream with a hundred frames beside three with one each: the three are all in the next batch of four."""
    lanes = [policy.Lane(waiting=waiting, weight=1.0, deficit=0.0) for waiting in (100, 1, 1, 1)]
    assert _share_out(lanes, 4).takes == (1, 1, 1, 1)


def test_a_stream_of_great_weight_spends_its_turn_over_several_batches() -> None:
    """With HIGH beside eight NORMAL streams, a batch of four has at most two of its frames, and it gets its four."""
    busy = _Busy([4.0] + [1.0] * 8)
    for _ in range(3):
        before = busy.got[0]
        busy.serve(4)
        assert busy.got[0] - before <= 2
    assert busy.got == [4] + [1] * 8


def test_a_batch_looks_at_no_more_lanes_than_it_needs() -> None:
    """Of a thousand streams, four are looked at for a batch of four."""
    looked_at = iter(policy.Lane(waiting=1, weight=1.0, deficit=0.0) for _ in range(1000))
    policy.share_out(looked_at, 4, 1000.0)
    assert len(list(looked_at)) == 996


_MODELS = st.builds(LatencyModel, base_s=st.floats(0, 1), per_frame_s=st.floats(0, 1))


@given(model=_MODELS, size=st.sampled_from(_BUCKETS), slack_s=st.floats(-1, 40))
def test_a_batch_is_as_large_as_its_tightest_deadline_allows(model: LatencyModel, size: int, slack_s: float) -> None:
    """The largest prepared size that is in time; if not even one frame would be, nothing is given up for it."""
    fitting = policy.size_in_time(size, buckets=_BUCKETS, model=model, slack_s=slack_s)
    in_time = [bucket for bucket in _BUCKETS if bucket <= size and model.predict_s(bucket) <= slack_s]
    assert fitting == (max(in_time) if in_time else size)


def test_a_batch_shrinks_for_a_deadline_and_names_who_goes_first() -> None:
    """With 10 ms and 10 ms a frame, 35 ms leave room for two; a deadline before the batch after goes first."""
    model = LatencyModel(base_s=0.01, per_frame_s=0.01)
    choice = policy.choose(8, buckets=_BUCKETS, model=model, start_at=100.0, tightest=100.035, crowded=False)
    assert choice.size == 2
    assert math.isclose(choice.done_at, 100.03)
    assert math.isclose(choice.urgent_before, 100.05)
    assert policy.choose(8, buckets=_BUCKETS, model=model, start_at=100.0, tightest=None, crowded=False).size == 8
    assert policy.choose(8, buckets=_BUCKETS, model=model, start_at=100.0, tightest=100.035, crowded=True).size == 8


@given(free_in_s=st.floats(0, 1), live_waiting=st.integers(0, 3))
def test_no_device_runs_ahead_of_its_time_or_of_live_video(free_in_s: float, live_waiting: int) -> None:
    """A busy device gets its next batch when it is about to be free and no live frame waits for a free one."""
    assert policy.may_run_ahead(free_in_s, live_waiting) == (free_in_s <= policy.AHEAD_S and live_waiting == 0)


@given(count=st.integers(1, 64))
def test_what_failed_together_is_halved_until_it_is_alone(count: int) -> None:
    """The parts are prepared sizes, none over half, nothing is lost; again and again, each frame ends up alone."""
    parts = policy.divided(count, 32, _BUCKETS)
    assert sum(parts) == count
    assert set(parts) <= set(_BUCKETS)
    assert max(parts) <= max(1, math.ceil(count / 2))
    if count > 1:
        assert all(part < count for part in parts)


def test_halving_finds_one_bad_frame_of_32_in_ten_runs() -> None:
    """Each level runs the half with the bad frame and the one without it."""
    runs, count = 0, 32
    while count > 1:
        parts = policy.divided(count, 32, _BUCKETS)
        runs += len(parts)
        count = max(parts)
    assert runs == 10


@given(attempts=st.integers(0, 5))
def test_a_lost_frame_is_tried_twice_more_and_the_last_time_alone(attempts: int) -> None:
    """After one loss it may run with its batch again, after two alone, after three no more."""
    assert policy.may_retry(attempts) == (attempts <= 2)
    assert policy.may_retry_in_company(attempts) == (attempts <= 1)


@given(waiting=st.integers(0, 100), limit=st.integers(1, 40), running=st.integers(0, 3))
def test_batches_have_prepared_sizes_and_never_need_padding(waiting: int, limit: int, running: int) -> None:
    """A batch is a prepared size, no larger than what waits or what the replica takes."""
    size = policy.batch_size(waiting=waiting, limit=limit, buckets=_BUCKETS, running=running)
    assert size == 0 or (size in _BUCKETS and size <= min(waiting, limit))


def test_a_free_device_starts_at_once_and_a_busy_one_prefetches_only_a_full_batch() -> None:
    """One frame starts a free device; a busy one is given the next batch when it is full, and never a third."""
    buckets = (1, 2, 4)
    sizes = {
        (waiting, running): policy.batch_size(waiting=waiting, limit=4, buckets=buckets, running=running)
        for waiting in (1, 3, 4, 9)
        for running in (0, 1, 2)
    }
    assert [sizes[waiting, 0] for waiting in (1, 3, 4, 9)] == [1, 2, 4, 4]
    assert [sizes[waiting, 1] for waiting in (1, 3, 4, 9)] == [0, 0, 4, 4]
    assert [sizes[waiting, 2] for waiting in (1, 3, 4, 9)] == [0, 0, 0, 0]
