"""Devices: how long a batch takes, and how much a fleet can do at best."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPEEDS = (1.0, 0.5, 0.8)
"""The speeds that a fleet's devices have in turn, as parts of the profile's: assumed, never measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How long batches take on one kind of device.

    Attributes:
        name: as in `devices.json`.
        measured: False for figures that are only assumed.
        provenance: where the figures come from.
        seconds: by batch size, ascending.
    """

    name: str
    measured: bool
    provenance: str
    seconds: Mapping[int, float]

    @property
    def largest(self) -> int:
        """The largest batch there is a figure for."""
        return max(self.seconds)

    def seconds_for(self, size: int) -> float:
        """Give the seconds for a batch of `size` frames, on the line between the sizes next to it."""
        if size in self.seconds:
            return self.seconds[size]
        fewer = max(known for known in self.seconds if known < size)
        more = min(known for known in self.seconds if known > size)
        part = (size - fewer) / (more - fewer)
        return self.seconds[fewer] + part * (self.seconds[more] - self.seconds[fewer])


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device of a fleet.

    Attributes:
        profile: its kind.
        speed: as a part of its profile's.
        limit: the largest batch it takes, a power of two.
    """

    profile: Profile
    limit: int
    speed: float = 1.0

    def mean_s(self, size: int) -> float:
        """Give the seconds that a batch of `size` frames takes on average."""
        return self.profile.seconds_for(size) / self.speed

    @property
    def best_rate(self) -> float:
        """Frames a second at the batch size that suits it best."""
        return max(size / self.mean_s(size) for size in buckets(self.limit))


def buckets(limit: int) -> tuple[int, ...]:
    """Give the prepared batch sizes: the powers of two up to `limit`."""
    return tuple(1 << power for power in range(limit.bit_length()))


def capacity(fleet: Sequence[Device]) -> float:
    """Give the frames a second of all devices together, each at the batch size that suits it best."""
    return sum(device.best_rate for device in fleet)


def make_fleet(profile: Profile, count: int, limit: int | None = None) -> tuple[Device, ...]:
    """Make `count` devices of one profile whose speeds are `SPEEDS` in turn."""
    speeds = itertools.islice(itertools.cycle(SPEEDS), count)
    return tuple(Device(profile=profile, limit=limit or profile.largest, speed=speed) for speed in speeds)


def profiles() -> dict[str, Profile]:
    """Read `devices.json`."""
    entries: list[dict[str, Any]] = json.loads(Path(__file__).with_name("devices.json").read_text())
    return {
        entry["name"]: Profile(
            name=entry["name"],
            measured=entry["measured"],
            provenance=entry["provenance"],
            seconds={int(size): seconds for size, seconds in entry["seconds"].items()},
        )
        for entry in entries
    }
