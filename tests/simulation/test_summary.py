"""The figures of the report, on runs small enough to reckon by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulation.devices import SPEEDS, Device, Profile, buckets, capacity, make_fleet, profiles
from tests.simulation.streams import LOW, Ending, Frame, Job, Stream
from tests.simulation.summary import fair_shares, fairness, summarize
from tests.simulation.workload import MIX, mixed
from tests.simulation.world import Batch, Record

_PROFILE = Profile(name="two", measured=False, provenance="assumed", seconds={1: 0.2, 4: 0.5})


def _frame(stream: int, started_at: float | None, ended_at: float, ending: Ending, deadline: float | None) -> Frame:
    frame = Frame(stream=stream, due_at=0.0, sent_at=0.0, deadline=deadline)
    frame.started_at, frame.ended_at, frame.endings = started_at, ended_at, [ending]
    return frame


def _record(frames: list[Frame], due: list[int], batches: list[Batch]) -> Record:
    streams = [Stream(kind="any", arrivals=Job(count=count, start_s=0.0)) for count in due]
    fleet = [Device(profile=_PROFILE, limit=4)]
    return Record(horizon_s=2.0, streams=streams, fleet=fleet, frames=frames, due=due, batches=batches)


def test_a_run_is_summed_up() -> None:
    """Two frames in time, one late, one given up, one superseded, one after the horizon: every figure by hand."""
    record = _record(
        [
            _frame(0, 0.0, 0.2, Ending.DONE, 1.0),
            _frame(0, 0.2, 0.7, Ending.DONE, None),
            _frame(1, 0.2, 0.7, Ending.LATE, 0.5),
            _frame(1, None, 0.3, Ending.EXPIRED, 0.3),
            _frame(1, None, 0.3, Ending.SUPERSEDED, 0.3),
            _frame(1, 1.9, 2.1, Ending.DONE, None),
        ],
        [2, 4],
        [
            Batch(device=0, size=1, started_at=0.0, ended_at=0.2),
            Batch(device=0, size=2, started_at=0.2, ended_at=0.7),
            Batch(device=0, size=1, started_at=1.9, ended_at=2.1),
        ],
    )
    summary = summarize(record)
    assert summary.goodput == 1.0
    assert summary.goodput_of_capacity == 1.0 / 8.0
    assert summary.missed == pytest.approx(2 / 3)
    assert summary.dropped == pytest.approx(2 / 6)
    assert summary.wait_p50_s == pytest.approx(0.2)
    assert summary.hurried_p99_s == pytest.approx(0.2, abs=0.01)
    assert summary.mean_batch == pytest.approx(4 / 3)
    assert summary.busy == pytest.approx(0.4)
    # Three frames were computed in time for the horizon; max-min fair would have been 1.5 each, one got 2 and one 1.
    assert summary.fairness == pytest.approx((2 / 1.5 + 1 / 1.5) ** 2 / (2 * ((2 / 1.5) ** 2 + (1 / 1.5) ** 2)))


def test_one_of_four_with_everything_is_a_quarter_fair() -> None:
    """Jain's index is k/n if k of n equal streams share everything."""
    frames = [_frame(0, 0.0, 0.1, Ending.DONE, None) for _ in range(8)]
    assert fairness(_record(frames, [8, 8, 8, 8], [])) == pytest.approx(1 / 4)


@given(
    demands=st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0.25, 1.0, 4.0])), min_size=1, max_size=8),
    percent=st.integers(0, 100),
)
def test_fair_shares_are_max_min_fair(demands: list[tuple[int, float]], percent: int) -> None:
    """All is given, nobody gets more than it asked for, and whoever gets less has as much by weight as anybody."""
    wanted, weights = [demand for demand, _ in demands], [weight for _, weight in demands]
    total = percent / 100 * sum(wanted)
    shares = fair_shares(total, wanted, weights)
    assert math.isclose(sum(shares), total, abs_tol=1e-9)
    assert all(share <= demand for share, demand in zip(shares, wanted, strict=True))
    levels = [share / weight for share, weight in zip(shares, weights, strict=True)]
    for share, demand, level in zip(shares, wanted, levels, strict=True):
        assert share == demand or math.isclose(level, max(levels))


def test_capacity_is_that_of_the_best_batch_sizes() -> None:
    """4 frames in 0.5 s beat 1 in 0.2 s; a device half as fast does half of it."""
    fast, slow = (Device(profile=_PROFILE, limit=4, speed=speed) for speed in (1.0, 0.5))
    assert capacity([fast, slow]) == pytest.approx(8 + 4)
    assert _PROFILE.seconds_for(2) == pytest.approx(0.3)


def test_the_figures_of_the_devices_say_where_they_come_from() -> None:
    """Measured ones name the script, the others say that they are assumed; a larger batch takes no less."""
    for profile in profiles().values():
        assert profile.provenance.startswith("measured by tests.simulation.measure" if profile.measured else "assumed")
        assert tuple(profile.seconds) == buckets(profile.largest)
        assert list(profile.seconds.values()) == sorted(profile.seconds.values())
    assert {profile.name for profile in profiles().values() if profile.measured} == {"large", "mobile"}


@pytest.mark.parametrize("load", [0.5, 1.2])
def test_the_mixed_workload_offers_its_load(load: float) -> None:
    """Its streams' mean rates add up to the part of the capacity asked for, in the shares of the mix."""
    fleet = make_fleet(profiles()["mobile"], 16, 8)
    assert {device.speed for device in fleet} == set(SPEEDS)
    streams = mixed(fleet, streams=200, load=load, seed=1, seconds=100.0)
    assert len(streams) == 200
    rates: dict[str, float] = {}
    for stream in streams:
        rate = (
            stream.arrivals.count / 100 if isinstance(stream.arrivals, Job) else getattr(stream.arrivals, "rate", 0.0)
        )
        rates[stream.kind] = rates.get(stream.kind, 0.0) + rate
    for share in MIX:
        assert rates[share.kind] == pytest.approx(share.load * load * capacity(fleet), rel=0.02)
    assert all(stream.weight == LOW for stream in streams if stream.kind == "job")
