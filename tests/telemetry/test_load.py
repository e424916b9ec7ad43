"""How busy a server is, from what is counted anyway."""

import pytest

from nasfeat_server.telemetry.events import Outcome
from nasfeat_server.telemetry.figures import FrameFigures
from nasfeat_server.telemetry.load import LoadMeter, Room

_IDLE = {"slots": 64, "slots_in_use": 0, "queued": 0, "waiting": 0, "queue_wait_s": 0.0, "devices_up": 2}


class _Server:
    """Counts what it is told to."""

    def __init__(self) -> None:
        self.now = self.busy_s = self.cpu_s = 0.0
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.room = dict(_IDLE)
        self.looks = 0
        self.meter = LoadMeter(
            frames=self._frames,
            busy_s=lambda: self.busy_s,
            room=lambda: Room(**self.room),  # type: ignore[arg-type]
            clock=lambda: self.now,
            cpu_clock=lambda: self.cpu_s,
            cores=4,
        )

    def _frames(self) -> FrameFigures:
        self.looks += 1
        return FrameFigures(in_flight=0, outcomes=dict(self.outcomes), stages={})

    def work(self, seconds: float, *, busy: float = 0.0, cpu: float = 0.0, **per_second: float) -> None:
        """Let time go by with both devices busy for a part of it, and so many outcomes a second."""
        self.now += seconds
        self.busy_s += 2 * busy * seconds
        self.cpu_s += cpu * seconds
        for name, count in per_second.items():
            self.outcomes[Outcome(name)] += round(count * seconds)


def test_utilization_is_the_share_of_device_time() -> None:
    """Two devices that compute three quarters of the time, with nothing that waits; rates are of the same seconds."""
    server = _Server()
    server.work(2, busy=0.75, cpu=1.0, ok=100, error=1, rejected=2, expired=3, cancelled=50, dropped=50, invalid=50)
    load = server.meter()
    assert load.utilization == load.devices == pytest.approx(0.75)
    assert load.cpu == pytest.approx(0.25)
    assert load.frames_per_s == pytest.approx(100)
    assert load.failures_per_s == pytest.approx(6)


def test_what_waits_counts_above_full_devices() -> None:
    """Full devices, half of the slots queued and as many images that wait for one: 1 + 1/2 + 1/2."""
    server = _Server()
    server.work(2, busy=1.2)
    server.room |= {"queued": 32, "waiting": 32}
    assert server.meter().devices == 1
    assert server.meter().utilization == pytest.approx(2.0)


def test_a_server_without_a_device_has_no_capacity_left() -> None:
    """While all replicas are being restarted."""
    server = _Server()
    server.room["devices_up"] = 0
    server.work(2)
    assert server.meter().utilization == 1


def test_a_load_that_ended_is_forgotten() -> None:
    """Seconds after the last frame the server is idle again, however often it was asked meanwhile."""
    server = _Server()
    server.work(10, busy=1.0, ok=100)
    assert server.meter().utilization == 1
    for _ in range(8):
        server.work(0.5)
        last = server.meter()
    assert last.utilization == last.frames_per_s == 0


def test_after_a_pause_the_load_is_that_of_the_pause() -> None:
    """Nobody asked for a minute, of which half was busy."""
    server = _Server()
    server.work(1)
    assert server.meter().utilization == 0
    server.work(30, busy=1.0, ok=10)
    server.work(30)
    assert server.meter().utilization == pytest.approx(0.5)
    assert server.meter().frames_per_s == pytest.approx(5)


def test_asking_often_costs_nothing() -> None:
    """A thousand calls that end at one moment make one look, besides that at the start."""
    server = _Server()
    server.work(1)
    assert len({id(server.meter()) for _ in range(1000)}) == 1
    assert server.looks == 2
