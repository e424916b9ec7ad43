"""Refusals in the log."""

import itertools
import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.telemetry.events import Refused
from nasfeat_server.telemetry.rejections import Pauses, RejectionLog

_KINDS = st.sampled_from([("a", "x"), ("a", "y"), ("b", "x")])


@given(steps=st.lists(st.tuples(_KINDS, st.floats(0, 2)), max_size=200))
def test_each_kind_passes_at_most_once_a_period(steps: list[tuple[tuple[str, ...], float]]) -> None:
    """What passes of a kind is a period apart or more, and with those it says were held back it is all there was."""
    pauses, now = Pauses(1.0), 0.0
    passed: dict[tuple[str, ...], list[float]] = {}
    asked: Counter[tuple[str, ...]] = Counter()
    told: Counter[tuple[str, ...]] = Counter()
    for kind, wait_s in steps:
        now += wait_s
        asked[kind] += 1
        held_back = pauses.pass_through(kind, now)
        if held_back is not None:
            passed.setdefault(kind, []).append(now)
            told[kind] += 1 + held_back
            assert told[kind] == asked[kind]
    for times in passed.values():
        assert all(later - earlier > 1.0 - 1e-9 for earlier, later in itertools.pairwise(times))


def test_a_flood_is_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """Of a thousand refusals in a second one is written, the next one later says how many there were."""
    now = [0.0]
    log = RejectionLog(clock=lambda: now[0])
    refused = Refused(
        method="StreamFeatures", reason="InvalidImage", message="no image", stream_id="cam", frame_id=7, tenant="t"
    )
    for _ in range(1000):
        log.observe(refused)
    log.observe(Refused(method="GetModel", reason="ModelNotFound", message="none here"))
    now[0] = 1.5
    log.observe(refused)
    assert [record.getMessage() for record in caplog.records] == [
        "StreamFeatures, stream cam, frame 7, tenant t: InvalidImage: no image",
        "GetModel: ModelNotFound: none here",
        "StreamFeatures, stream cam, frame 7, tenant t: InvalidImage: no image (and 999 more like this before)",
    ]
    first, second, last = (vars(record) for record in caplog.records)
    assert (first["stream_id"], first["frame_id"], first["tenant"], first["held_back"]) == ("cam", 7, "t", 0)
    assert "stream_id" not in second
    assert last["held_back"] == 999
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
