"""A Ray cluster of one node, as its own programs start it, and a store that speaks S3's protocol."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

# What a program asked of a store that has keys of its own, and no newer checksums than S3 had for years.
_S3 = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """A cluster that runs.

    Attributes:
        client: its address for programs outside, "ray://...".
        process: its head.
        environment: of programs on its node that shall find it and no other.
    """

    client: str
    process: psutil.Process
    environment: Mapping[str, str]

    def workers(self, name: str) -> list[psutil.Process]:
        """Give the processes that run a class or function."""
        found = []
        for process in self.process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if name in " ".join(process.cmdline()):
                    found.append(process)
        return found


@contextlib.contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Run a cluster, small, without a dashboard, and in nobody's way."""
    port, client_port = free_port(), free_port()
    # Sockets have short paths.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        environment = (
            os.environ
            | _S3
            | {
                "RAY_TMPDIR": folder,
                "RAY_AUTH_MODE": "disabled",
                "RAY_USAGE_STATS_ENABLED": "0",
                # The head forks while gRPC's threads work, for each client from outside. On a busy machine that child
                # may die before it is a program: "Starting Ray client server failed".
                "GRPC_ENABLE_FORK_SUPPORT": "false",
            }
        )
        ray = Path(sys.executable).with_name("ray")
        options = {
            "port": port,
            "ray-client-server-port": client_port,
            "node-ip-address": "127.0.0.1",
            "num-cpus": 3,
            "object-store-memory": 150 * 2**20,
            "include-dashboard": "false",
            "temp-dir": folder,
        }
        command: list[str | Path] = [
            ray,
            "start",
            "--head",
            "--block",
            *(f"--{name}={value}" for name, value in options.items()),
        ]
        with running_program(command, environment) as process:
            wait_for_port(client_port)
            yield RayCluster(
                client=f"ray://127.0.0.1:{client_port}",
                process=process,
                environment=environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"},
            )


@contextlib.contextmanager
def s3_store(folder: Path) -> Iterator[str]:
    """Serve each folder of `folder` as a bucket; gives the options that URIs need."""
    port = free_port()
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent))
    assert rclone
    key = f"{_S3['AWS_ACCESS_KEY_ID']},{_S3['AWS_SECRET_ACCESS_KEY']}"
    command = [rclone, "serve", "s3", "--config", "", "--auth-key", key, "--addr", f"127.0.0.1:{port}", str(folder)]
    with running_program(command, os.environ):
        wait_for_port(port)
        yield f"?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"


@contextlib.contextmanager
def running_program(command: Sequence[str | Path], environment: Mapping[str, str]) -> Iterator[psutil.Process]:
    """Run a program with all that it starts, and end all of that."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as started:
        process = psutil.Process(started.pid)
        try:
            yield process
        finally:
            family = [process, *process.children(recursive=True)]
            started.send_signal(signal.SIGTERM)
            _, alive = psutil.wait_procs(family, timeout=3)
            for left in alive:
                with contextlib.suppress(psutil.Error):
                    left.kill()


def free_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def wait_for_port(port: int) -> None:
    """Return when somebody listens; the test's own timeout bounds the wait."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
