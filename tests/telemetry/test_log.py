"""The log."""

import io
import json
import logging as standard
from collections.abc import Iterator
from datetime import datetime

import pytest

from nasfeat.v1 import feature_service_pb2, image_pb2
from nasfeat_server.telemetry import logging
from serving import connected, frame, next_result, opening, running


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = standard.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


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
