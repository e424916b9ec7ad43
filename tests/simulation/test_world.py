"""The simulator itself: no frame is lost, time does not run backwards, queueing theory is right."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from tests.simulation.agenda import Agenda
from tests.simulation.devices import Device, Profile, make_fleet, profiles
from tests.simulation.disciplines import Discipline, DynamicBatching, Fifo
from tests.simulation.experiments import DISCIPLINES
from tests.simulation.ours import Ours
from tests.simulation.streams import Arrivals, Bursts, Ending, Frame, Job, Periodic, Poisson, Stream
from tests.simulation.workload import mixed
from tests.simulation.world import Record, World

from nasfeat_server.scheduling.overload import OverloadPolicy

Make = Callable[[Sequence[Device]], Discipline]
_SECONDS = 8.0
_EACH = pytest.mark.parametrize("make", DISCIPLINES)


def _device(seconds: float, limit: int = 1) -> Device:
    profile = Profile(
        name="constant",
        measured=False,
        provenance="assumed",
        seconds={1 << power: seconds for power in range(limit.bit_length())},
    )
    return Device(profile=profile, limit=limit)


def _streams(fleet: Sequence[Device], load: float) -> tuple[Stream, ...]:
    """Add streams that drop and reject to the mixed workload."""
    losing = tuple(
        Stream(kind=overload.value, arrivals=Bursts(rate=20), overload=overload, backlog=1, deadline_s=deadline_s)
        for overload in OverloadPolicy
        for deadline_s in (None, 0.2)
    )
    return (*mixed(fleet, streams=40, load=load, seed=0, seconds=_SECONDS), *losing)


def _run(make: Make, load: float, seed: int = 0) -> Record:
    fleet = make_fleet(profiles()["mobile"], 3, 8)
    return World(
        fleet=fleet, streams=_streams(fleet, load), discipline=make(fleet), seed=seed, horizon_s=_SECONDS
    ).run()


@_EACH
@pytest.mark.parametrize("load", [0.4, 1.5])
def test_every_frame_ends_once(make: Make, load: float) -> None:
    """Every frame that was sent ends in exactly one way, and is in a batch exactly if a device had it."""
    record = _run(make, load)
    assert all(len(frame.endings) == 1 for frame in record.frames)
    computed = [frame for frame in record.frames if frame.endings[0] in (Ending.DONE, Ending.LATE)]
    assert computed == [frame for frame in record.frames if frame.started_at is not None]
    assert sum(batch.size for batch in record.batches) == len(computed)
    sent = [sum(frame.stream == number for frame in record.frames) for number in range(len(record.streams))]
    assert all(count <= due for count, due in zip(sent, record.due, strict=True))


def test_under_overload_frames_end_in_every_way() -> None:
    """Ours supersedes, rejects, refuses and gives up frames; in one queue each of them is computed."""
    assert {frame.endings[0] for frame in _run(Ours, 1.5).frames} >= set(Ending) - {Ending.LATE}
    assert {frame.endings[0] for frame in _run(Fifo, 1.5).frames} == {Ending.DONE, Ending.LATE}


@_EACH
def test_what_happened_is_in_order(make: Make) -> None:
    """A frame is due, sent, begun and ended in this order; frames are sent and batches end as time goes by."""
    record = _run(make, 1.0)
    for frame in record.frames:
        ended_at = math.inf if frame.ended_at is None else frame.ended_at
        started_at = ended_at if frame.started_at is None else frame.started_at
        assert frame.due_at <= frame.sent_at <= started_at <= ended_at < math.inf
    assert all(one.sent_at <= other.sent_at for one, other in pairwise(record.frames))
    assert all(one.ended_at <= other.ended_at for one, other in pairwise(record.batches))


@_EACH
def test_a_device_runs_one_batch_at_a_time_within_its_limit(make: Make) -> None:
    """No batch begins before the one before it has ended, and none is larger than the device takes."""
    record = _run(make, 1.5)
    for number, device in enumerate(record.fleet):
        own = [batch for batch in record.batches if batch.device == number]
        assert own
        assert all(1 <= batch.size <= device.limit for batch in own)
        assert all(one.ended_at <= other.started_at for one, other in pairwise(own))


@_EACH
def test_no_stream_has_more_in_flight_than_its_window(make: Make) -> None:
    """A stream that offers everything at once never has more than 32 frames sent and not yet ended."""
    fleet = make_fleet(profiles()["fake"], 2)
    job, camera = Job(count=400, start_s=0.0), Poisson(rate=50)
    streams = [Stream(kind="job", arrivals=job), Stream(kind="camera", arrivals=camera)]
    record = World(fleet=fleet, streams=streams, discipline=make(fleet), seed=1, horizon_s=5.0).run()
    frames = [frame for frame in record.frames if frame.stream == 0]
    assert len(frames) == 400
    changes = sorted([(frame.sent_at, 1) for frame in frames] + [(frame.ended_at or 0.0, -1) for frame in frames])
    assert np.cumsum([change for _, change in changes]).max() == 32


@_EACH
def test_the_same_seed_gives_the_same_run(make: Make) -> None:
    """Two runs of one seed are alike in every frame; another seed's differ."""

    def trace(seed: int) -> list[tuple[object, ...]]:
        frames = _run(make, 1.2, seed).frames
        return [(frame.stream, frame.sent_at, frame.started_at, frame.ended_at, *frame.endings) for frame in frames]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


@pytest.mark.parametrize("make", [Fifo, Ours])
@pytest.mark.parametrize(("busy", "noise"), [(0.5, 0.0), (0.8, 0.0), (0.5, 0.6)])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(make: Make, busy: float, noise: float) -> None:
    """One device, single frames, Poisson arrivals: rate E[S^2] / (2 (1 - busy)), within a few per cent."""
    device = _device(0.02)
    rate = busy / 0.02
    world = World(
        fleet=[device],
        streams=[Stream(kind="random", arrivals=Poisson(rate=rate), window=10_000)],
        discipline=make([device]),
        seed=3,
        horizon_s=40_000 / rate,
        noise=noise,
        round_trip_s=0.0,
        hand_over_s=0.0,
    )
    waited = np.mean([(frame.started_at or 0.0) - frame.due_at for frame in world.run().frames])
    expected = rate * 0.02**2 * math.exp(noise**2) / (2 * (1 - busy))
    assert waited == pytest.approx(expected, rel=0.05)


def test_first_come_first_served() -> None:
    """With one device, frames begin in the order of their arrival, and a batch is what waits."""
    device = _device(0.1, limit=4)
    streams = [Stream(kind="random", arrivals=Poisson(rate=10)) for _ in range(3)]
    record = World(fleet=[device], streams=streams, discipline=Fifo([device]), seed=0, horizon_s=20.0).run()
    started = [frame.started_at or 0.0 for frame in record.frames]
    assert started == sorted(started)
    assert {batch.size for batch in record.batches} == {1, 2, 3, 4}


def _sent(times: Sequence[float]) -> list[Frame]:
    return [Frame(stream=0, due_at=time, sent_at=time, deadline=None) for time in times]


def test_dynamic_batching_waits_for_company_up_to_its_delay() -> None:
    """Three frames of four are held back until the first has waited for the delay; the fourth sends them at once."""
    batching = DynamicBatching([_device(0.1, limit=4)], delay_s=0.005)
    for frame in _sent([0.0, 0.001, 0.002]):
        batching.push(frame)
    assert not batching.match(0.002)
    assert batching.wake_at(0.002) == 0.005
    assert [len(start.frames) for start in batching.match(0.005)] == [3]
    batching.finished(0, 3, 0.1, 0.105)
    for frame in _sent([0.2] * 4):
        batching.push(frame)
    assert [len(start.frames) for start in batching.match(0.2)] == [4]
    assert batching.wake_at(0.2) is None


def test_time_does_not_run_backwards() -> None:
    """Plans are carried out in the order of time, equal ones as they were made; the past takes none."""
    agenda, done = Agenda(), list[tuple[float, str]]()
    for time, name in ((2.0, "late"), (1.0, "first"), (1.0, "second")):
        agenda.at(time, lambda name=name: done.append((agenda.now, name)))  # type: ignore[misc]
    agenda.run()
    assert done == [(1.0, "first"), (1.0, "second"), (2.0, "late")]
    for impossible in (1.5, math.inf, math.nan):
        with pytest.raises(ValueError, match="nothing can be planned"):
            agenda.at(impossible, agenda.run)


@pytest.mark.parametrize("arrivals", [Periodic(rate=50, jitter=1.0), Poisson(rate=50), Bursts(rate=50)])
def test_arrivals_keep_their_rate(arrivals: Arrivals) -> None:
    """Times never descend, and in the long run come as often as they say."""
    fleet = [_device(1e-4)]
    streams = [Stream(kind="any", arrivals=arrivals, window=10_000)]
    record = World(fleet=fleet, streams=streams, discipline=Fifo(fleet), seed=0, horizon_s=2000.0).run()
    due = [frame.due_at for frame in record.frames]
    assert due == sorted(due)
    assert record.due[0] / 2000 == pytest.approx(50, rel=0.03)


def test_a_camera_skips_what_it_cannot_send_and_a_file_does_not() -> None:
    """Three times too fast: both send as much as is computed; the camera's frames are sent when they are due."""
    fleet = [_device(0.1)]
    for skips in (True, False):
        stream = Stream(kind="source", arrivals=Periodic(rate=30), window=4, skips=skips)
        record = World(fleet=fleet, streams=[stream], discipline=Fifo(fleet), seed=0, horizon_s=20.0).run()
        assert len(record.frames) == pytest.approx(200, abs=8)
        assert record.due[0] == pytest.approx(600, abs=1)
        assert all(frame.sent_at == frame.due_at for frame in record.frames) == skips
