"""The arithmetic of docs/SCALING.md."""

from dataclasses import replace

import pytest
from click.testing import CliRunner
from tests.simulation.machines import Frame, Machine, main, most_per_machine, plan

_FRAME = Frame(
    received_bytes=300_000,
    sent_bytes=16_000,
    front_end_us=900,
    decode_us=0,
    scheduler_us=50,
    replica_us=50,
    device_ms=4,
)
_MACHINE = Machine(devices=8, cores=16, gbit=10, headroom=0.5)


def test_a_machine_does_what_its_scarcest_resource_allows() -> None:
    """Half of eight devices at 250/s, of sixteen cores at 1000/s, of 10 Gbit/s, of one scheduler's core."""
    most = most_per_machine(_FRAME, _MACHINE)
    assert most == pytest.approx({"devices": 1000, "cores": 8000, "network": 2083.333, "one scheduler": 10_000})


def test_machines_are_whole_and_name_what_they_lack() -> None:
    """A frame more than two machines do takes a third; with faster devices it is the network that is short."""
    assert plan(2000, _FRAME, _MACHINE).machines == 2
    three = plan(2001, _FRAME, _MACHINE)
    assert (three.machines, three.devices, three.bottleneck) == (3, 24, "devices")
    assert three.gbit == pytest.approx(667 * 300_000 * 8 / 1e9)
    assert plan(2000, replace(_FRAME, device_ms=1), _MACHINE).bottleneck == "network"
    assert plan(2000, replace(_FRAME, device_ms=1, received_bytes=30_000), _MACHINE).bottleneck == "devices"


def test_a_front_end_has_one_core() -> None:
    """At 1000 frames a second on a machine, 950 ms of gRPC and scheduling a second are two processes at half use."""
    assert plan(2000, _FRAME, _MACHINE).front_ends == 2


def test_the_command_prints_a_plan() -> None:
    """With figures of one's own."""
    result = CliRunner().invoke(main, ["--device-ms", "10", "--devices", "1", "--cores", "4"])
    assert result.exit_code == 0
    assert "10,000,000" in result.output
