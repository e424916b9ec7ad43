"""A Ray cluster of several nodes on this machine, as a program: Ray's processes and warnings stay out of the tests.

It writes the address, then obeys a word on each line of its input and answers "done": `add`, `remove` (a node's
processes are killed) and `kill` (its raylet alone is, by SIGKILL); the oldest node is taken. It ends with its input.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

STORE_BYTES = 80 * 2**20
# A node that is lost is found out within two seconds; by default it takes Ray fifteen and more.
SOON = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


def main() -> None:
    """Run a head without CPUs and as many nodes of one CPU each as the first argument says."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 2 * STORE_BYTES, "_system_config": SOON}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [_add(cluster) for _ in range(int(sys.argv[1]))]
        cluster.wait_for_nodes()
        print(cluster.address, flush=True)
        for line in sys.stdin:
            match line.strip():
                case "add":
                    nodes.append(_add(cluster))
                    cluster.wait_for_nodes()
                case "remove":
                    cluster.remove_node(nodes.pop(0), allow_graceful=False)
                case "kill":
                    (raylet,) = nodes[0].all_processes["raylet"]
                    os.kill(raylet.process.pid, 9)
                    # What the cluster knows of it goes, too.
                    cluster.remove_node(nodes.pop(0), allow_graceful=False)
            print("done", flush=True)
    finally:
        cluster.shutdown()


def _add(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, wait=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """A running cluster, and where it is."""

    address: str
    process: asyncio.subprocess.Process

    async def tell(self, word: str) -> None:
        """Give an order and wait until it is carried out."""
        if not self.process.stdin or not self.process.stdout:
            raise AssertionError("both are pipes")
        self.process.stdin.write(f"{word}\n".encode())
        await self.process.stdin.drain()
        while (line := await self.process.stdout.readline()) != b"done\n":
            if not line:
                raise AssertionError("the cluster has ended")

    def actors(self) -> list[psutil.Process]:
        """Give the processes of the server's replicas."""
        return self._processes("ray::_Actor")

    @property
    def count(self) -> int:
        """How many nodes there are beside the head."""
        return len(self._processes("raylet")) - 1

    def _processes(self, name: str) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                # A process that has ended has no command line.
                if process.cmdline()[:1] and Path(process.cmdline()[0]).name.startswith(name):
                    found.append(process)
        return found


@contextlib.asynccontextmanager
async def ray_nodes(count: int) -> AsyncIterator[Nodes]:
    """Run a cluster of a head and `count` nodes until the context ends."""
    async with running_cluster(__file__, count) as nodes:
        yield nodes


@contextlib.asynccontextmanager
async def running_cluster(program: str, count: int) -> AsyncIterator[Nodes]:
    """Run a program that is a cluster, with `count` as its argument, until the context ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "ignore",
        program,
        str(count),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    if not process.stdin or not process.stdout:
        raise AssertionError("both are pipes")
    try:
        while ":" not in (line := (await process.stdout.readline()).decode()):
            if not line:
                raise AssertionError("the cluster did not start")
        yield Nodes(address=line.strip(), process=process)
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    main()
