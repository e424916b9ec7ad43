"""Requests as they reach the port of the metrics: answered or dropped, and never with an error of the server."""

import contextlib
import re
import socket
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from tests.fuzz.target import Check, Target

from nasfeat_server.config import Endpoint
from nasfeat_server.status.access import MARK, PICTURE_TYPE, Access
from nasfeat_server.telemetry.exposition import expose
from nasfeat_server.telemetry.metrics_server import MetricsServer, metrics_handler
from nasfeat_server.telemetry.web import Handler, Reply, Request, Routes

_HERE = Endpoint(host="127.0.0.1", port=0)
_LARGEST_BODY = 64
_CLIENT = ("127.0.0.1", 0)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d+) ")
# What cannot be done, whoever asks: a method or a version that is not there.
_NOT_THERE = (501, 505)


@contextlib.contextmanager
def _open() -> Iterator[Check]:
    registry = CollectorRegistry()
    Counter("frames", "Some.", ["outcome"], registry=registry).labels("ok").inc()
    Histogram("seconds", "Some.", registry=registry).observe(0.5)
    with MetricsServer(_HERE, _routes(registry)) as server:

        def check(data: bytes) -> None:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.sendall(data)
                ours.shutdown(socket.SHUT_WR)
                server._server.finish_request(theirs, _CLIENT)
                theirs.shutdown(socket.SHUT_RDWR)
                answer = _all(ours)
            status = _STATUS.match(answer)
            assert not status or int(status[1]) < 500 or int(status[1]) in _NOT_THERE, answer[:200]

        yield check


def _routes(registry: CollectorRegistry) -> Handler:
    """Answer as the status page does, as far as a request is read: pictures are the affair of other targets."""
    access = Access(_HERE, None)

    def status(request: Request) -> Reply:
        access.check_site(request)
        return Reply(body=b"{}", content_type="application/json")

    def tried(request: Request) -> Reply:
        access.check_picture(request)
        return Reply(body=request.read_body(limit=_LARGEST_BODY, within_s=1), content_type=PICTURE_TYPE)

    return Routes(
        {
            "/metrics": {"GET": metrics_handler(lambda accept: expose(registry, accept))},
            "/status.json": {"GET": status},
            "/try": {"POST": tried},
        }
    )


def _all(connection: socket.socket) -> bytes:
    answer = b""
    while part := connection.recv(2**16):
        answer += part
    return answer


def _seeds() -> Iterator[bytes]:
    protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6"
    for accept in (protobuf, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5;escaping=underscores", "*/*"):
        yield f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nAccept-Encoding: gzip\r\n\r\n".encode()
    page = "Host: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n"
    yield f"GET /status.json HTTP/1.1\r\n{page}\r\n".encode()
    picture = f"{MARK}: 1\r\nContent-Type: {PICTURE_TYPE}\r\nContent-Length: 3\r\n"
    yield f"POST /try HTTP/1.1\r\n{page}{picture}\r\nabc".encode()
    yield b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"
    yield b"GET /\r\n"


TARGET = Target(
    name="scrapes",
    what="HTTP at the port of the metrics: telemetry/metrics_server.py, web.py, exposition.py, status/access.py",
    open=_open,
    seeds=_seeds,
    words=(
        *(b"GET ", b"HEAD ", b"POST ", b" HTTP/1.1\r\n", b" HTTP/0.9\r\n", b" HTTP/9.9\r\n", b"\r\n\r\n", b"Accept: "),
        *(b"application/openmetrics-text", b"application/vnd.google.protobuf", b"text/plain", b";version=", b"1.0.0"),
        *(
            b";escaping=",
            b"allow-utf-8",
            b"dots",
            b"values",
            b";q=",
            b"nan",
            b"Content-Length: ",
            b"Transfer-Encoding: ",
        ),
    ),
    largest=2048,
)
