"""How many cores this process may use: those that it may run on, as far as its cgroups give it the time.

A limit of processor time (`limits.cpu`, `cpus:`, `CPUQuota=`) takes no core away. It stops every thread of the group
when the time of a period, mostly a tenth of a second, is used up, as it soon is by many. Python 3.13 and psutil do not
tell of it; loky looks in one place, where a service of systemd's and a group within a group have nothing.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

# What has the limit of a group and its period, by the controller that the group is named for; version 2 names none.
_FILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"": ("cpu.max",), "cpu": ("cpu.cfs_quota_us", "cpu.cfs_period_us")}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """What a process may use.

    Attributes:
        numbers: the cores that it may run on, ascending.
        quota: processor seconds a second that its cgroups allow; infinite where they have no limit.
    """

    numbers: tuple[int, ...]
    quota: float = math.inf

    @property
    def limited(self) -> bool:
        """Whether there is less time than the cores have."""
        return self.quota < len(self.numbers)

    @property
    def seconds(self) -> float:
        """Processor seconds that there are in a second."""
        return min(len(self.numbers), self.quota)

    @property
    def count(self) -> int:
        """How many threads can be kept busy, at least one; a part of a core counts as one."""
        return math.ceil(self.seconds)

    @property
    def threads(self) -> int:
        """What frameworks must be told, which look at `numbers` alone; 0 where that is right."""
        return self.count if self.limited else 0


def usable_cores(process: Path = Path("/proc/self")) -> Cores:
    """Look at this process, at its groups and at those that they are in; what cannot be read limits nothing."""
    try:
        # What is mounted may have any name.
        texts = ((process / name).read_text(errors="replace") for name in ("cgroup", "mountinfo"))
        groups, mounts = (text.splitlines() for text in texts)
    except OSError:
        groups, mounts = [], []
    numbers = tuple(sorted(os.sched_getaffinity(0)))
    return Cores(numbers=numbers, quota=min(_quotas(groups, mounts), default=math.inf))


def _quotas(groups: list[str], mounts: list[str]) -> Iterator[float]:
    """Give the limit of each group that there is; both versions of cgroups may be there at once."""
    paths = {
        controller: PurePosixPath(path)
        for _, controllers, path in (line.split(":", 2) for line in groups)
        for controller in controllers.split(",")
    }
    for controller, root, place in _mounted(mounts):
        path = paths.get(controller, root)
        # A container's own group may be all that is mounted, and its path be told from there or from the top.
        group = place / (path.relative_to(root) if path.is_relative_to(root) else "")
        while group.is_relative_to(place):
            yield _quota(group, _FILES[controller])
            group = group.parent


def _mounted(mounts: list[str]) -> Iterator[tuple[str, PurePosixPath, Path]]:
    """Give each hierarchy that has such limits: its controller, which of its groups is mounted, and where."""
    for line in mounts:
        mount, _, system = line.partition(" - ")
        root, place = mount.split(" ")[3:5]
        if system.startswith("cgroup2 "):
            yield "", PurePosixPath(root), Path(place)
        elif system.startswith("cgroup ") and "cpu" in system.split(" ")[-1].split(","):
            yield "cpu", PurePosixPath(root), Path(place)


def _quota(group: Path, files: tuple[str, ...]) -> float:
    try:
        quota, period = " ".join((group / name).read_text() for name in files).split()
        # Without a limit it is "max", or negative.
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError):
        return math.inf
