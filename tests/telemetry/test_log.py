"""The log."""

import io
import json
import logging as standard
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.errors import InvalidImageError
from nasfeat_server.imaging.decode import decode_into
from nasfeat_server.imaging.types import ImageLimits
from nasfeat_server.telemetry import logging
from serving import connected, frame, next_result, opening, running


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = standard.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    # Not the attribute: loggers remember what they found there.
    root.setLevel(level)


def _written(form: str, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logging.configure("info", form)
    return stream


def test_a_line_of_json_has_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time with its zone, level, logger, message, the event's own fields, and a traceback on the same line."""
    stream = _written("json", monkeypatch)
    try:
        int("two\nlines")
    except ValueError:
        standard.getLogger("a.b").exception("it %s", "failed", extra={"stream_id": "cam", "frame_id": 7})
    standard.getLogger("a.b").debug("not this")
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert datetime.fromisoformat(told.pop("time")).tzinfo
    assert "ValueError: invalid literal" in told.pop("exc_info")
    assert told == {"level": "ERROR", "logger": "a.b", "message": "it failed", "stream_id": "cam", "frame_id": 7}


def test_a_line_for_people_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, level, logger and message."""
    stream = _written("text", monkeypatch)
    standard.getLogger("a.b").warning("it is late")
    assert stream.getvalue().endswith(" WARNING a.b: it is late\n")


def test_a_message_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's words can neither pass for a line of the server's nor steer a terminal."""
    stream = _written("text", monkeypatch)
    standard.getLogger("a.b").warning("stream %s", "x\n2026-01-01 00:00:00,000 INFO a.b: all is well\x1b[2J")
    assert stream.getvalue().endswith(
        " WARNING a.b: stream x\\x0a2026-01-01 00:00:00,000 INFO a.b: all is well\\x1b[2J\n"
    )


def test_pictures_do_not_write_into_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns of a GIF by its size, each once: a client with many would fill log and memory."""
    stream = _written("text", monkeypatch)
    frame_at = b",\0\0\0\0\x10\x27\x10\x27\0"
    gif = b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + frame_at + b"\2\2D\1\0;"
    with pytest.raises(InvalidImageError, match="10000x10000 = 100 megapixels"):
        decode_into(gif, np.empty((8, 8, 3), np.uint8), ImageLimits(max_bytes=1000, max_pixels=50_000_000))
    assert stream.getvalue() == ""


def test_headers_do_not_write_into_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are no UTF-8 have a trace each, and may be tokens: gRPC's lines of them are left out, no others."""
    stream = _written("text", monkeypatch)
    log = standard.getLogger("grpc._cython.cygrpc")
    log.error("Invalid encoding on %s", b"Bearer \xf0\x9f")
    assert stream.getvalue() == ""
    log.error("something else")
    assert "something else" in stream.getvalue()


async def test_what_is_refused_is_in_the_log_with_its_ids(caplog: pytest.LogCaptureFixture) -> None:
    """A bad frame names its stream and itself, a refused call its method; nothing of the image is there."""
    async with running() as app, connected(app) as stub:
        call = stub.StreamFeatures()
        await call.write(opening(stream_id="camera-1"))
        await call.write(frame(17, image_pb2.Image(encoded=b"no image at all")))
        assert await next_result(call)
        call.cancel()
        request = feature_service_pb2.ExtractFeaturesRequest(images=[])
        with pytest.raises(Exception, match="1 to 32 images"):
            await stub.ExtractFeatures(request)
    refusals = [record for record in caplog.records if record.name.endswith("rejections")]
    assert [(vars(record)["method"], vars(record)["reason"]) for record in refusals] == [
        ("StreamFeatures", "InvalidImage"),
        ("ExtractFeatures", "InvalidRequest"),
    ]
    assert "stream camera-1, frame 17" in refusals[0].getMessage()
    assert "no image at all" not in caplog.text
