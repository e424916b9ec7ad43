"""How many cores a process may use, from the files by which Linux tells of limits of processor time."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nasfeat_server.engine import cores, remote_replica
from nasfeat_server.engine.cores import Cores, usable_cores
from nasfeat_server.engine.interface import EngineOptions
from nasfeat_server.engine.remote_replica import RemoteReplica
from nasfeat_server.network.spec import VARIANTS
from nasfeat_server.network.weights.values import Located
from serving import running

_UNLIMITED = float("inf")


class _System:
    """What /proc and /sys/fs/cgroup show to a process."""

    def __init__(self, root: Path) -> None:
        self.process = root / "proc"
        self.process.mkdir()
        self.place = root / "cgroup"
        (self.process / "mountinfo").write_bytes(b"22 1 0:21 / /mnt/\xff rw,nosuid - ext4 /dev/vdb rw\n")
        self.belongs()

    def mounts(self, kind: str, options: str = "rw", root: str = "/", place: str = "") -> None:
        """Show a hierarchy of groups, or the part of it that begins at `root`."""
        with (self.process / "mountinfo").open("a") as mounts:
            mounts.write(f"31 23 0:28 {root} {self.place / place} rw,relatime shared:9 - {kind} {kind} {options}\n")

    def belongs(self, *lines: str) -> None:
        """Put the process into groups."""
        (self.process / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def limits(self, group: str, **files: str) -> None:
        """Write what a group allows."""
        folder = self.place / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")

    def quota(self) -> float:
        """Look."""
        return usable_cores(self.process).quota


@pytest.fixture
def system(tmp_path: Path) -> _System:
    """Give a system without groups."""
    return _System(tmp_path)


@pytest.mark.parametrize(("text", "quota"), [("400000 100000", 4), ("50000 100000", 0.5), ("max 100000", _UNLIMITED)])
def test_a_container_sees_its_own_limit(system: _System, text: str, quota: float) -> None:
    """As in Docker and Kubernetes with version 2, where the container's group looks like the top."""
    system.mounts("cgroup2")
    system.belongs("0::/")
    system.limits("", cpu_max=text)
    assert system.quota() == quota


def test_the_least_of_all_groups_above_counts(system: _System) -> None:
    """A service of systemd's in a slice with a limit; the group at the top has none, and no file for it."""
    system.mounts("cgroup2")
    system.belongs("0::/all.slice/some.slice/nasfeat.service")
    system.limits("all.slice", cpu_max="300000 100000")
    system.limits("all.slice/some.slice", cpu_max="125000 50000")
    system.limits("all.slice/some.slice/nasfeat.service", cpu_max="max 100000")
    system.limits("all.slice/other.service", cpu_max="100000 100000")
    assert system.quota() == 2.5


@pytest.mark.parametrize(("quota", "expected"), [("150000", 1.5), ("-1", _UNLIMITED)])
def test_version_1_has_the_same_in_two_files(system: _System, quota: str, expected: float) -> None:
    """Beside version 2 without the controller; another controller's group has nothing to say."""
    system.mounts("cgroup2", place="unified")
    system.mounts("cgroup", "rw,cpu,cpuacct", place="cpu,cpuacct")
    system.mounts("cgroup", "rw,cpuset", place="cpuset")
    system.belongs("5:cpuset:/other", "4:cpu,cpuacct:/some/group", "1:name=systemd:/", "0::/")
    files = {"cpu_cfs_quota_us": quota, "cpu_cfs_period_us": "100000"}
    system.limits("cpu,cpuacct/some", **files)
    system.limits("cpu,cpuacct/some/group", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    system.limits("cpuset/other", cpu_cfs_quota_us="1000", cpu_cfs_period_us="100000")
    assert system.quota() == expected


@pytest.mark.parametrize("path", ["/docker/1f", "/docker/1f/inner", "/", "/../elsewhere"])
def test_a_part_of_the_hierarchy_is_enough(system: _System, path: str) -> None:
    """Docker with version 1 mounts the container's group; the process' path may begin at the top, there or outside."""
    system.mounts("cgroup", "rw,cpu", root="/docker/1f", place="cpu")
    system.belongs(f"3:cpu:{path}")
    system.limits("cpu", cpu_cfs_quota_us="200000", cpu_cfs_period_us="100000")
    assert system.quota() == 2


def test_what_cannot_be_read_limits_nothing(system: _System) -> None:
    """No group, no such file, one that makes no sense, and no /proc."""
    system.mounts("cgroup2")
    assert system.quota() == _UNLIMITED
    system.belongs("0::/gone")
    assert system.quota() == _UNLIMITED
    system.limits("", cpu_max="many 0")
    assert system.quota() == _UNLIMITED
    assert usable_cores(system.process / "nowhere").numbers == tuple(sorted(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("quota", "seconds", "count", "threads"),
    [
        (4.0, 4, 4, 4),
        (0.2, 0.2, 1, 1),
        (2.5, 2.5, 3, 3),
        (64.0, 64, 64, 0),
        (100.0, 64, 64, 0),
        (_UNLIMITED, 64, 64, 0),
    ],
)
def test_a_part_of_a_core_counts_as_one(quota: float, seconds: float, count: int, threads: int) -> None:
    """Of 64 cores; frameworks are told how many threads to have only where the cores do not say it."""
    made = Cores(numbers=tuple(range(64)), quota=quota)
    assert (made.seconds, made.count, made.threads) == (seconds, count, threads)


async def test_a_server_keeps_to_a_limit_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of half a core: one thread decodes, and one is all that the replica is to have."""
    monkeypatch.setattr(cores, "_quotas", lambda *_: (0.5,))
    caplog.set_level("INFO")
    async with running() as app:
        assert f"the processor time of 0.5 of {len(usable_cores().numbers)} cores: threads are as for 1" in caplog.text
        (served,) = app._catalog.served
        assert served.path.decoding.threads._max_workers == 1
        commands = [child.cmdline() for child in psutil.Process().children()]
        [replica] = [command for command in commands if "nasfeat_server.engine.worker" in command]
        assert json.loads(replica[-1])["options"]["threads"] == 1


def test_a_replica_elsewhere_has_the_threads_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of the machine on which the server prepared what it loads."""
    loaded: list[EngineOptions] = []

    def loading(options: EngineOptions) -> Iterator[str]:
        loaded.append(options)
        yield "nothing"

    monkeypatch.setattr(remote_replica, "loading", loading)
    monkeypatch.setattr(cores, "_quotas", lambda *_: (0.5,))
    model = Located(source="random:0", location="random:0", spec=VARIANTS["cifar"], labels=(), trained=False)
    options = EngineOptions(
        engine="fake", model=model, run_module_graph=False, cores=(), batch_buckets=(1,), threads=64
    )
    assert next(RemoteReplica()._loading(options, 0, {})) == {"progress": "nothing"}
    assert [options.thread_count for options in loaded] == [1]
