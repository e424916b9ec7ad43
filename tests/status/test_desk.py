"""Pictures that browsers hand in take the way of every picture, and leave it when nobody waits any more."""

import asyncio
import base64
import contextlib
import socket
from collections.abc import Iterator

import pytest

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.app import App
from nasfeat_server.config import Endpoint
from nasfeat_server.rpc.status import STATUSES
from nasfeat_server.status import page
from photographs import picture
from serving import connected, metric, running, until
from web import PICTURE_HEADERS, try_picture


def _frames(app: App, outcome: str) -> float:
    return metric(app, "nasfeat_frames_total", outcome=outcome, reason="")


@contextlib.contextmanager
def _handing_in(endpoint: Endpoint | None, body: bytes, *, promised: int = 0) -> Iterator[socket.socket]:
    """Send the head of a request, and `body`, of perhaps more bytes that were promised; the connection stays open."""
    assert endpoint
    headers = PICTURE_HEADERS | {"Host": str(endpoint), "Content-Length": str(promised or len(body))}
    head = "POST /try HTTP/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    with socket.create_connection((endpoint.host, endpoint.port)) as connection:
        connection.sendall(head.encode() + body)
        yield connection


async def test_a_picture_gets_what_a_call_gets() -> None:
    """The same features, and the time that each stage took; it is counted like any image."""
    async with running() as app, connected(app) as stub:
        answer = await try_picture(app.metrics, picture(1))
        request = feature_service_pb2.ExtractFeaturesRequest(images=[image_pb2.Image(encoded=picture(1))])
        [result] = (await stub.ExtractFeatures(request)).results
        assert answer.status == 200
        assert base64.b64decode(answer.content["features"]) == result.features.features[0].values
        assert set(answer.content["stages_s"]) == {"receive", "decode", "queue", "execute"}
        assert (answer.content["version"], answer.content["source"]) == ("1", "computed")
        assert _frames(app, "ok") == 2


async def test_a_file_that_is_no_picture_is_told_why() -> None:
    """As a client would be, and nobody else is affected."""
    async with running() as app:
        answer = await try_picture(app.metrics, b"no picture")
        assert (answer.status, answer.content["reason"]) == (422, "InvalidImage")
        assert "not an image" in answer.content["message"]
        assert (await try_picture(app.metrics, picture(1))).status == 200


async def test_pictures_are_few_at_once() -> None:
    """While four are on their way no fifth is read: it may come again."""
    async with running() as app:
        with contextlib.ExitStack() as senders:
            for _ in range(4):
                senders.enter_context(_handing_in(app.metrics, b"half", promised=100))
            await until(lambda: app._web.desk._seats._value == 0)
            answer = await try_picture(app.metrics, picture(1))
            assert (answer.status, answer.content["reason"], answer.headers["retry-after"]) == (429, "Overloaded", "1")
        await until(lambda: app._web.desk._seats._value == 4)
        assert (await try_picture(app.metrics, picture(1))).status == 200


async def test_who_leaves_is_not_worked_for() -> None:
    """A picture whose browser goes while it waits for the device is given up before it is computed."""
    async with running(weights="sleep:0.5", max_batch_size=1) as app:
        with _handing_in(app.metrics, picture(1)):
            await until(lambda: metric(app, "nasfeat_in_flight_frames") == 1)
            with _handing_in(app.metrics, picture(2)):
                await until(lambda: metric(app, "nasfeat_in_flight_frames") == 2)
            await until(lambda: _frames(app, "cancelled") == 1)
            await until(lambda: _frames(app, "ok") == 1)
        await until(lambda: app._web.desk._seats._value == 4)


async def test_a_server_that_stops_answers_what_it_has() -> None:
    """A picture that is on its way gets its features, and no further one is taken."""
    async with asyncio.TaskGroup() as tasks, running(weights="sleep:0.3") as app:
        trying = tasks.create_task(try_picture(app.metrics, picture(1)))
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 1)
        app._web.desk.drain()
        refused = await try_picture(app.metrics, picture(2))
        assert (refused.status, refused.content["reason"]) == (503, "ShuttingDown")
    assert trying.result().status == 200


async def test_a_server_that_must_stop_gives_pictures_up() -> None:
    """When the grace has passed the browser is told so."""
    async with asyncio.TaskGroup() as tasks, running(weights="sleep:0.8", grace_s=0.0) as app:
        trying = tasks.create_task(try_picture(app.metrics, picture(1)))
        await until(lambda: metric(app, "nasfeat_in_flight_frames") == 1)
    assert (trying.result().status, trying.result().content["reason"]) == (503, "ShuttingDown")


async def test_what_nobody_expects_does_not_end_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The browser gets an error, the log the trace, and the next picture its features."""

    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async with running() as app:
        with monkeypatch.context() as patch:
            patch.setattr("nasfeat_server.status.desk.try_picture", fail)
            assert (await try_picture(app.metrics, picture(1))).status == 500
        assert "ZeroDivisionError" in caplog.text
        assert (await try_picture(app.metrics, picture(1))).status == 200


def test_every_status_has_one_of_http() -> None:
    """Whatever error a picture ends in."""
    assert {status.code.name for status in STATUSES.values()} == set(page.STATUSES)
