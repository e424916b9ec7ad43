"""HTTP as far as the port of the metrics speaks it, over real sockets."""

import contextlib
import socket
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from nasfeat_server.config import Endpoint
from nasfeat_server.telemetry.metrics_server import MetricsServer
from nasfeat_server.telemetry.web import Reply, Request, WebError
from web import ask


@contextlib.contextmanager
def _connected(**headers: str) -> Iterator[tuple[socket.socket, Request]]:
    """Give a client's end, and the request whose body it will send."""
    client, server = socket.socketpair()
    with client, server, server.makefile("rb") as body:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        yield (
            client,
            Request(method="POST", path="/", headers=named, peer="here", body=body, connection=server),
        )


def _status(request: Request, *, limit: int = 100, within_s: float = 30.0) -> HTTPStatus:
    with pytest.raises(WebError) as caught:
        request.read_body(limit=limit, within_s=within_s)
    return caught.value.status


def test_a_body_is_read_as_it_comes() -> None:
    """In several pieces, and not a byte more than was told."""
    with _connected(content_length="6") as (client, request):
        client.sendall(b"abc")
        client.sendall(b"defgh")
        assert request.read_body(limit=6, within_s=30.0) == b"abcdef"


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """Neither if its sender is slow nor if it is gone."""
    with _connected(content_length="6") as (client, request):
        client.sendall(b"abc")
        assert _status(request, within_s=0.01) == 408
    with _connected(content_length="6") as (client, request):
        client.sendall(b"abc")
        client.close()
        assert _status(request) == 400


@pytest.mark.parametrize(("told", "status"), [("", 411), ("-1", 411), ("1.5", 411), ("101", 413), ("1" * 5000, 413)])
def test_a_body_says_how_long_it_is_and_not_too_long(told: str, status: int) -> None:
    """Before anything of it is read."""
    with _connected(content_length=told) as (_, request):
        assert _status(request) == status


def test_who_waits_for_a_reply_is_known() -> None:
    """Until the connection is closed; what else is sent on it changes nothing."""
    with _connected() as (client, request):
        assert not request.is_given_up()
        client.sendall(b"more")
        assert not request.is_given_up()
    with _connected() as (client, request):
        client.close()
        assert request.is_given_up()


async def test_a_failure_of_ours_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asked learns nothing of what it was."""

    def fail(request: Request) -> Reply:
        raise ZeroDivisionError

    with MetricsServer(Endpoint(host="127.0.0.1", port=0), fail) as server:
        answer = await ask(server.endpoint, "/any")
    assert (answer.status, b"Zero" in answer.body) == (500, False)
    assert "GET /any failed" in caplog.text


async def test_a_refusal_reaches_who_still_sends() -> None:
    """Megabytes that nobody reads do not take the reply away with them; nor do they keep the server from its end."""

    def refuse(request: Request) -> Reply:
        raise WebError(HTTPStatus.FORBIDDEN, "no")

    with MetricsServer(Endpoint(host="127.0.0.1", port=0), refuse) as server:
        answer = await ask(server.endpoint, "/any", method="POST", body=bytes(16 * 2**20))
    assert (answer.status, answer.body) == (403, b"no\n")
