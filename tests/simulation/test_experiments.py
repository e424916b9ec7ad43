"""What the policy promises, held in virtual time."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.simulation.__main__ import main
from tests.simulation.devices import Device, capacity, make_fleet, profiles
from tests.simulation.disciplines import Fifo
from tests.simulation.experiments import PLACINGS, beside_a_flood, divided, too_fast_for
from tests.simulation.ours import Ours
from tests.simulation.streams import Ending, Job, Periodic, Stream
from tests.simulation.summary import ages, fairness, summarize, waits
from tests.simulation.workload import full_batch_s, mixed
from tests.simulation.world import HAND_OVER_S, Record, World

from nasfeat_server.scheduling.overload import OverloadPolicy

_SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])
_BATCHES = 250


def _fleet(model: str, devices: int) -> tuple[Device, ...]:
    return make_fleet(profiles()[model], devices, 8)


def _ours(fleet: tuple[Device, ...], streams: tuple[Stream, ...], seed: int, seconds: float) -> Record:
    return World(fleet=fleet, streams=streams, discipline=Ours(fleet), seed=seed, horizon_s=seconds).run()


@_SEEDS
@pytest.mark.parametrize("model", ["mobile", "fake"])
def test_a_flood_does_not_push_the_others_back(model: str, seed: int) -> None:
    """Beside a stream that sends a hundred times as much, 16 streams' 99th percentile of wait is at most 1.5 fold."""
    fleet = _fleet(model, 1)
    seconds = _BATCHES * full_batch_s(fleet)
    assert beside_a_flood(Ours, fleet, seed=seed, seconds=seconds).ratio <= 1.5
    assert beside_a_flood(Fifo, fleet, seed=seed, seconds=seconds).ratio > 4


@_SEEDS
@pytest.mark.parametrize("model", ["large", "mobile", "fake"])
def test_a_live_camera_that_is_too_fast_gets_fresh_results(model: str, seed: int) -> None:
    """With a source three times as fast as the device, no result is older than two batches; in one queue it is."""
    device = _fleet(model, 1)[0]
    seconds = _BATCHES * device.mean_s(1)
    ours = too_fast_for(Ours, device, seed=seed, seconds=seconds)
    assert ours.oldest_age < 2
    assert ours.frames_per_s == pytest.approx(1 / (device.mean_s(1) + HAND_OVER_S), rel=0.05)
    if model != "fake":
        # The fake device is as fast with all that waits as with one frame.
        assert too_fast_for(Fifo, device, seed=seed, seconds=seconds).median_age > 2


@_SEEDS
def test_a_live_camera_beside_a_flood_gets_its_share(seed: int) -> None:
    """While jobs keep two devices busy all the time, a camera within its share is computed, with fresh results."""
    fleet = _fleet("mobile", 2)
    rate = capacity(fleet) / 10
    camera = Stream(kind="live", arrivals=Periodic(rate=rate, jitter=0.3), overload=OverloadPolicy.LATEST_ONLY)
    jobs = tuple(Stream(kind="job", arrivals=Job(count=10**5, start_s=0.0)) for _ in range(3))
    record = _ours(fleet, (camera, *jobs), seed, 30.0)
    frames = [frame for frame in record.frames if frame.stream == 0]
    assert sum(Ending.DONE in frame.endings for frame in frames) > 0.5 * len(frames)
    slowest = max(device.mean_s(device.limit) for device in fleet)
    assert max(ages(frames)) < 2.5 * slowest
    assert summarize(record).busy > 0.98


@_SEEDS
def test_frames_are_not_bound_to_a_busy_device_while_others_come_free(seed: int) -> None:
    """On sixteen devices at 80 %, half of the frames wait less than a quarter of a batch."""
    fleet = _fleet("mobile", 16)
    rate = 0.8 * capacity(fleet) / 100
    cameras = tuple(Stream(kind="camera", arrivals=Periodic(rate=rate, jitter=0.3)) for _ in range(100))
    waited = sorted(waits(_ours(fleet, cameras, seed, 10.0).frames))
    assert waited[len(waited) // 2] < full_batch_s(fleet) / 4


@_SEEDS
def test_deadlines_do_not_cost_capacity_under_overload(seed: int) -> None:
    """With 120 % offered and deadlines on half of it, nine tenths of the capacity become results in time."""
    fleet = _fleet("mobile", 4)
    rate, batch_s = 1.2 * capacity(fleet) / 40, full_batch_s(fleet)
    cameras = tuple(
        Stream(
            kind="camera",
            arrivals=Periodic(rate=rate, jitter=0.3),
            deadline_s=(None, 3 * batch_s, None, 6 * batch_s)[number % 4],
        )
        for number in range(40)
    )
    summary = summarize(_ours(fleet, cameras, seed, 30.0))
    assert summary.goodput_of_capacity > 0.9
    assert summary.mean_batch > 6


@_SEEDS
def test_the_mixed_workload_is_served_fairly_and_in_time(seed: int) -> None:
    """At 95 % nearly every deadline holds; at 120 % what is lost is lost by those who ask for more than their share."""
    fleet = _fleet("mobile", 8)
    for load, most_missed in ((0.95, 0.01), (1.2, 0.05)):
        streams = mixed(fleet, streams=60, load=load, seed=seed, seconds=20.0)
        record = _ours(fleet, streams, seed, 20.0)
        assert summarize(record).missed <= most_missed
        assert fairness(record) > 0.95


def test_the_command_writes_its_report(tmp_path: Path) -> None:
    """Text, figures and picture come out, and say that the devices are assumed where they are."""
    options = ["--streams", "10", "--devices", "2", "--seconds", "2", "--model", "gpu", "--output", str(tmp_path)]
    result = CliRunner().invoke(main, options, catch_exceptions=False)
    assert result.exit_code == 0
    assert "ASSUMED, NOT MEASURED" in result.output
    assert (tmp_path / "report.txt").read_text() in result.output
    assert '"discipline": "nasfeat"' in (tmp_path / "report.json").read_text()
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


@_SEEDS
def test_devices_divided_among_servers_make_frames_wait(seed: int) -> None:
    """The same streams on the same twelve devices wait longer where six servers have two each, however placed."""
    fleet, seconds = _fleet("mobile", 12), 5.0
    whole = divided(fleet, servers=1, placed="by number", streams=60, seed=seed, seconds=seconds).summary
    for placed in PLACINGS:
        parts = divided(fleet, servers=6, placed=placed, streams=60, seed=seed, seconds=seconds).summary
        assert parts.wait_p99_s > whole.wait_p99_s
        assert parts.goodput_of_capacity > 0.5
