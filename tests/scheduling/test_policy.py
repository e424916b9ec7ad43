"""The decisions of scheduling, by example and by property."""

from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling import policy

_LANES = st.lists(
    st.builds(
        policy.Lane,
        waiting=st.integers(1, 50),
        weight=st.sampled_from([0.25, 1.0, 4.0]),
        deficit=st.floats(0, 4, exclude_max=True),
    ),
    max_size=8,
)


@given(lanes=_LANES, capacity=st.integers(0, 64))
def test_shares_fill_the_batch_and_take_no_more_than_waits(lanes: list[policy.Lane], capacity: int) -> None:
    """A batch is as full as the waiting frames allow, and no lane gives more than it has."""
    shares = policy.share_out(lanes, capacity)
    assert sum(shares.takes) == min(capacity, sum(lane.waiting for lane in lanes))
    assert all(0 <= take <= lane.waiting for take, lane in zip(shares.takes, lanes, strict=True))


@given(lanes=_LANES, capacity=st.integers(0, 64))
def test_order_holds_exactly_the_lanes_that_still_wait(lanes: list[policy.Lane], capacity: int) -> None:
    """Every lane with frames left has one next turn; an empty lane has none and is owed nothing."""
    shares = policy.share_out(lanes, capacity)
    left = [lane.waiting - take for lane, take in zip(lanes, shares.takes, strict=True)]
    assert sorted(shares.order) == [index for index, count in enumerate(left) if count]
    assert all(shares.deficits[index] == 0 for index, count in enumerate(left) if not count)


def _serve(weights: list[float], batches: list[int]) -> list[int]:
    """Share out `batches` among lanes that never run empty; returns the frames that each lane got."""
    lanes = [policy.Lane(waiting=10**6, weight=weight, deficit=0.0) for weight in weights]
    names = list(range(len(weights)))
    got = [0] * len(weights)
    for capacity in batches:
        shares = policy.share_out(lanes, capacity)
        for name, take in zip(names, shares.takes, strict=True):
            got[name] += take
        lanes = [
            policy.Lane(waiting=10**6, weight=lanes[index].weight, deficit=shares.deficits[index])
            for index in shares.order
        ]
        names = [names[index] for index in shares.order]
    return got


@given(
    weights=st.lists(st.sampled_from([0.25, 1.0, 4.0]), min_size=1, max_size=6),
    batches=st.lists(st.integers(1, 32), min_size=1, max_size=60),
)
def test_busy_lanes_are_served_by_weight_whatever_the_batch_sizes(weights: list[float], batches: list[int]) -> None:
    """What a lane gets stays within two turns of its share by weight: nobody starves, nobody runs ahead."""
    got = _serve(weights, batches)
    rounds = [count / weight for count, weight in zip(got, weights, strict=True)]
    slack = [1 + 1 / weight for weight in weights]
    for one, own in zip(rounds, slack, strict=True):
        for other, theirs in zip(rounds, slack, strict=True):
            assert one - other <= own + theirs


def test_a_flood_takes_no_more_of_a_batch_than_its_turn() -> None:
    """One stream with a hundred frames beside three with one each: the three are all in the next batch of four."""
    lanes = [policy.Lane(waiting=waiting, weight=1.0, deficit=0.0) for waiting in (100, 1, 1, 1)]
    assert policy.share_out(lanes, 4).takes == (1, 1, 1, 1)


@given(waiting=st.integers(0, 100), limit=st.integers(1, 40), running=st.integers(0, 3))
def test_batches_have_prepared_sizes_and_never_need_padding(waiting: int, limit: int, running: int) -> None:
    """A batch is a prepared size, no larger than what waits or what the replica takes."""
    buckets = (1, 2, 4, 8, 16, 32)
    size = policy.batch_size(waiting=waiting, limit=limit, buckets=buckets, running=running)
    assert size == 0 or (size in buckets and size <= min(waiting, limit))


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
