"""The client's side of the books: each way in which a frame can go astray is found."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.soak.ledger import ANSWERS, FIELDS, Account, Expected, Tally, outcome_of

from nasfeat.v1 import feature_pb2
from nasfeat.v1 import feature_service_pb2 as pb
from nasfeat_server.rpc.status import STATUSES


def features(frame_id: int, values: bytes = b"") -> pb.FrameResult:
    """Make an answer with features."""
    vector = feature_pb2.Feature(output="global_pool", values=values)
    return pb.FrameResult(frame_id=frame_id, features=feature_pb2.Features(features=[vector]))


def failure(frame_id: int, reason: feature_pb2.ErrorReason.ValueType) -> pb.FrameResult:
    """Make an answer with an error."""
    return pb.FrameResult(frame_id=frame_id, error=feature_pb2.FrameError(reason=reason, message="because"))


def dropped(frame_id: int, reason: pb.DropReason.ValueType) -> pb.FrameResult:
    """Make the answer to a frame that was given up."""
    return pb.FrameResult(frame_id=frame_id, dropped=pb.Dropped(reason=reason))


def account(*frames: Expected, ordered: bool = True) -> Account:
    """Open an account with frames sent, numbered from 0."""
    opened = Account(name="a stream", ordered=ordered)
    for number, expected in enumerate(frames):
        opened.send(number, expected)
    return opened


def test_a_stream_that_balances_gives_no_complaint() -> None:
    """Each frame answered once and in order, and a summary that says the same: nothing to say."""
    books = account(*[Expected()] * 5, Expected(sound=False))
    books.answer(features(0))
    books.answer(dropped(1, pb.DROP_REASON_SUPERSEDED))
    books.answer(dropped(2, pb.DROP_REASON_DEADLINE))
    books.answer(failure(3, feature_pb2.ERROR_REASON_OVERLOADED))
    books.answer(failure(4, feature_pb2.ERROR_REASON_REPLICA_LOST))
    books.answer(failure(5, feature_pb2.ERROR_REASON_INVALID_IMAGE))
    books.finish(pb.StreamSummary(received=6, succeeded=1, failed=2, rejected=1, dropped=2))
    assert books.complaints == []
    assert books.answers == {"ok": 1, "dropped": 1, "expired": 1, "rejected": 1, "error": 1, "invalid": 1}


def test_a_frame_without_an_answer_is_found() -> None:
    """A stream that ends with a frame unanswered is complained of, however the summary looks."""
    books = account(Expected(), Expected())
    books.answer(features(0))
    books.finish(pb.StreamSummary(received=2, succeeded=1))
    assert books.complaints == ["a stream: 1 of 2 frames were never answered, first 1"]


def test_a_frame_answered_twice_is_found() -> None:
    """A second answer to the same frame is complained of."""
    books = account(Expected(), ordered=False)
    books.answer(features(0))
    books.answer(features(0))
    assert books.complaints == ["a stream: frame 0 was answered twice, or never sent"]


@pytest.mark.parametrize("ordered", [True, False])
def test_answers_out_of_turn_are_found_where_order_was_promised(ordered: bool) -> None:
    """Only a stream in order complains of a later frame answered first."""
    books = account(Expected(), Expected(), ordered=ordered)
    books.answer(features(1))
    assert bool(books.complaints) is ordered


@pytest.mark.parametrize("field", ["received", "succeeded", "failed", "rejected", "dropped"])
def test_a_summary_that_differs_is_found(field: str) -> None:
    """One frame more in any of the summary's counters is complained of."""
    books = account(Expected())
    books.answer(features(0))
    summary = pb.StreamSummary(received=1, succeeded=1)
    setattr(summary, field, getattr(summary, field) + 1)
    books.finish(summary)
    assert len(books.complaints) == 1
    assert "the summary says" in books.complaints[0]


def test_a_missing_summary_is_found() -> None:
    """A stream that ends without a summary is complained of."""
    books = account()
    books.finish(None)
    assert books.complaints == ["a stream: ended without a summary"]


@pytest.mark.parametrize(
    ("expected", "result", "complaint"),
    [
        (Expected(sound=False), features(0), "cannot have any"),
        (Expected(failing=True), features(0), "cannot have any"),
        (Expected(), failure(0, feature_pb2.ERROR_REASON_INVALID_IMAGE), "is sound and was refused"),
        (Expected(), failure(0, feature_pb2.ERROR_REASON_EXECUTION_FAILED), "fails on others only"),
        (Expected(mark=b"mine"), features(0, b"yours"), "another image's features"),
    ],
)
def test_an_answer_that_cannot_be_right_is_found(expected: Expected, result: pb.FrameResult, complaint: str) -> None:
    """Features of what has none, a sound image refused or failed, another image's features: each is complained of."""
    books = account(expected)
    books.answer(result)
    assert len(books.complaints) == 1
    assert complaint in books.complaints[0]


def test_the_image_s_own_features_are_welcome() -> None:
    """Features that begin with the mark of the image that was sent give no complaint."""
    books = account(Expected(mark=b"mine"))
    books.answer(features(0, b"mine and more"))
    assert books.complaints == []


def test_outcomes_are_named_as_the_server_s_metrics_name_them() -> None:
    """Every error of the server's table has the same outcome here, but for deadlines, which are answered as dropped."""
    for status in STATUSES.values():
        assert outcome_of(failure(0, status.reason)) == status.outcome
        assert status.outcome in ANSWERS


def test_an_answer_without_outcome_is_refused() -> None:
    """An empty answer is no answer."""
    with pytest.raises(ValueError, match="frame 3 was answered with"):
        outcome_of(pb.FrameResult(frame_id=3))


def test_a_tally_outlives_the_process_that_counted(tmp_path: Path) -> None:
    """What a process has counted when it is killed can be read, without its doing."""
    path = tmp_path / "tally"
    tally = Tally.create(path)
    counting = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.soak.ledger import Tally
Tally.open(Path({str(path)!r})).add("sent", 7)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", counting], check=False).returncode == -9
    assert tally.read()["sent"] == 7
    assert set(tally.read()) == set(FIELDS)
