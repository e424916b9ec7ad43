"""`nasfeat-server` as a child of this program, which never outlives it."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import grpc
from grpc_health.v1 import health_pb2

_POLL_S = 0.3
_STOP_S = 40.0


class ServerExitedError(Exception):
    """The server ended although nobody told it to.

    Attributes:
        code: its exit code; 2 says that it could not start as it was told to.
        reason: its own last word on that, or the end of its log.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"nasfeat-server ended with exit code {code}:\n{reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that has been started.

    Attributes:
        target: where its gRPC is.
        metrics: the address of its metrics.
        status_page: the address of what browsers are shown.
        log: the file that it writes to.
        process: the process.
    """

    target: str
    metrics: str
    status_page: str
    log: Path
    process: subprocess.Popen[bytes]

    def wait_ready(self, tell: Callable[[str], None]) -> None:
        """Return once the server takes work; `tell` hears the last line of its log every now and then.

        Raises:
            ServerExitedError: it ended instead.
        """
        with grpc.insecure_channel(self.target) as channel:
            while not _is_serving(channel):
                tell(_last_line(self.log))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = self.process.wait(_POLL_S)
                    raise ServerExitedError(code, _reason(self.log))

    def stop(self) -> int:
        """Ask the server to finish, and return its exit code; negative if it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def started(arguments: Sequence[str], log: Path) -> Iterator[Server]:
    """Start `nasfeat-server` with `arguments` on free ports; however the block is left, it is gone afterwards."""
    port, metrics_port = _free_ports()
    program = Path(sys.executable).with_name("nasfeat-server")
    listen = ("--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics_port}")
    with log.open("wb") as output:
        process = _start((str(program), *arguments, *listen), output)
    page = f"http://127.0.0.1:{metrics_port}/"
    server = Server(target=f"127.0.0.1:{port}", metrics=f"{page}metrics", status_page=page, log=log, process=process)
    try:
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def _start(command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    # In a session of its own: Ctrl-C reaches this program alone, which then stops the server in good order.
    return subprocess.Popen(  # noqa: S603 - the project's own program
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _is_serving(channel: grpc.Channel) -> bool:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = check(health_pb2.HealthCheckRequest(), timeout=1)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _lines(log: Path) -> list[str]:
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()]


def _last_line(log: Path) -> str:
    return next(reversed(_lines(log)), "")


def _reason(log: Path) -> str:
    lines = _lines(log)
    starts = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    told = lines[starts[-1] :] if starts else lines[-20:]
    return "\n".join(told).removeprefix("Error: ")
