"""How many machines a rate takes, from what one frame costs: `python -m tests.simulation.machines --help`.

The arithmetic of docs/SCALING.md, with figures of one's own. Nothing here is simulated: every resource of a machine is
used up to the headroom, and the scarcest one decides.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

RATES = (1_000, 100_000, 10_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What one frame costs.

    Attributes:
        received_bytes: on the wire, to the server.
        sent_bytes: on the wire, back.
        front_end_us: processor time of the gRPC process but for the scheduler.
        decode_us: processor time of decoding; 0 for raw frames.
        scheduler_us: processor time of the one scheduler that a server has.
        replica_us: processor time of the replica's process, its device's work aside.
        device_ms: device time at the batch size that suits it.
    """

    received_bytes: float
    sent_bytes: float
    front_end_us: float
    decode_us: float
    scheduler_us: float
    replica_us: float
    device_ms: float

    @property
    def cpu_us(self) -> float:
        """Processor time in all."""
        return self.front_end_us + self.decode_us + self.scheduler_us + self.replica_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What one machine has.

    Attributes:
        devices: those that compute.
        cores: of the processor.
        gbit: of the network, each way.
        headroom: the part of everything that is planned with.
    """

    devices: int
    cores: int
    gbit: float
    headroom: float


def most_per_machine(frame: Frame, machine: Machine) -> Mapping[str, float]:
    """Give the frames a second that each resource of a machine allows."""
    return {
        "devices": machine.headroom * machine.devices * 1e3 / frame.device_ms,
        "cores": machine.headroom * machine.cores * 1e6 / frame.cpu_us,
        "network": machine.headroom * machine.gbit * 1e9 / 8 / max(frame.received_bytes, frame.sent_bytes),
        "one scheduler": machine.headroom * 1e6 / frame.scheduler_us,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a rate takes.

    Attributes:
        machines: how many.
        bottleneck: the resource that decides.
        devices: in all.
        front_ends: gRPC processes on each machine, each of which has one core at most.
        gbit: received by each machine.
    """

    machines: int
    bottleneck: str
    devices: int
    front_ends: int
    gbit: float


def plan(rate: float, frame: Frame, machine: Machine) -> Plan:
    """Give the fewest machines that `rate` frames a second take, but for one to spare."""
    most = most_per_machine(frame, machine)
    bottleneck = min(most, key=lambda name: most[name])
    machines = math.ceil(rate / most[bottleneck])
    each = rate / machines
    return Plan(
        machines=machines,
        bottleneck=bottleneck,
        devices=machines * machine.devices,
        front_ends=math.ceil(each * (frame.front_end_us + frame.scheduler_us) / 1e6 / machine.headroom),
        gbit=each * frame.received_bytes * 8 / 1e9,
    )


@click.command(context_settings={"show_default": True})
@click.option("--received-bytes", default=329_000.0, help="Of a frame, on the wire: raw 331x331x3, or a file.")
@click.option("--sent-bytes", default=16_400.0, help="Of a result: 4032 float32 and what is told of them.")
@click.option("--front-end-us", default=900.0, help="Processor time of the gRPC process, the scheduler aside.")
@click.option("--decode-us", default=0.0, help="Processor time of decoding.")
@click.option("--scheduler-us", default=50.0, help="Processor time of the scheduler.")
@click.option("--replica-us", default=100.0, help="Processor time of the replica's process, its device aside.")
@click.option("--device-ms", default=3.4, help="Device time, at the batch size that suits it.")
@click.option("--devices", default=8, help="Devices of a machine.")
@click.option("--cores", default=64, help="Cores of a machine.")
@click.option("--gbit", default=100.0, help="Network of a machine, Gbit/s each way.")
@click.option("--headroom", default=0.7, type=click.FloatRange(0, 1, min_open=True), help="The part planned with.")
def main(devices: int, cores: int, gbit: float, headroom: float, **costs: Any) -> None:
    """Print how many machines a rate takes, and what they run out of first."""
    frame, machine = Frame(**costs), Machine(devices=devices, cores=cores, gbit=gbit, headroom=headroom)
    console = Console(width=100)
    most = Table(title="Frames a second of one machine, by what it would run out of")
    for name in ("resource", "frames/s"):
        most.add_column(name)
    for name, rate in most_per_machine(frame, machine).items():
        most.add_row(name, f"{rate:,.0f}")
    console.print(most)
    table = Table(title="Machines")
    for name in ("frames/s", "machines", "devices", "runs out of", "front ends each", "Gbit/s each"):
        table.add_column(name, justify="right")
    for rate in RATES:
        one = plan(rate, frame, machine)
        figures = (f"{one.machines:,}", f"{one.devices:,}", one.bottleneck, str(one.front_ends), f"{one.gbit:.1f}")
        table.add_row(f"{rate:,}", *figures)
    console.print(table)


if __name__ == "__main__":
    main()
