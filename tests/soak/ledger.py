"""The client's side of the books: what became of each frame of a call, and counters that outlive their process."""

import mmap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nasfeat.v1 import feature_pb2, feature_service_pb2

# In the words of the server's metrics.
ANSWERS = ("ok", "dropped", "rejected", "expired", "invalid", "error")
# Frames written, answers read, and frames of the calls that the client itself gave up; then what it did.
FIELDS = ("sent", *ANSWERS, "cancelled", "streams", "streams_cancelled", "streams_refused", "calls", "calls_failed")

_OUTCOMES_OF_REASONS = {
    feature_pb2.ERROR_REASON_INVALID_IMAGE: "invalid",
    feature_pb2.ERROR_REASON_INVALID_REQUEST: "invalid",
    feature_pb2.ERROR_REASON_OVERLOADED: "rejected",
    feature_pb2.ERROR_REASON_SHUTTING_DOWN: "rejected",
    feature_pb2.ERROR_REASON_DEADLINE_PASSED: "expired",
    feature_pb2.ERROR_REASON_EXECUTION_FAILED: "error",
    feature_pb2.ERROR_REASON_REPLICA_LOST: "error",
}


def outcome_of(result: feature_service_pb2.FrameResult) -> str:
    """Name the outcome of an answer as the server's metrics do.

    Raises:
        ValueError: the answer has no outcome, or one that this version does not know.
    """
    kind = result.WhichOneof("outcome")
    if kind == "features":
        return "ok"
    if kind == "dropped":
        return "expired" if result.dropped.reason == feature_service_pb2.DROP_REASON_DEADLINE else "dropped"
    if kind == "error" and result.error.reason in _OUTCOMES_OF_REASONS:
        return _OUTCOMES_OF_REASONS[result.error.reason]
    raise ValueError(f"frame {result.frame_id} was answered with {str(result)[:200]!r}")


class Tally:
    """Counters in a file, so that they can be read when the process that counted was killed."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._counts = memoryview(memory).cast("q")

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the file, every counter at zero."""
        path.write_bytes(bytes(8 * len(FIELDS)))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map the file."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), 8 * len(FIELDS)))

    def add(self, field: str, count: int = 1) -> None:
        """Count."""
        self._counts[FIELDS.index(field)] += count

    def read(self) -> Counter[str]:
        """Give all counters."""
        return Counter(dict(zip(FIELDS, self._counts, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What may come of a frame.

    Attributes:
        sound: it can be decoded.
        failing: the engine fails on it.
        mark: the first bytes of its features; None if they are not known.
    """

    sound: bool = True
    failing: bool = False
    mark: bytes | None = None

    def complaint(self, outcome: str, result: feature_service_pb2.FrameResult) -> str | None:
        """Say what is wrong with an answer; None if nothing is."""
        if outcome == "ok" and (self.failing or not self.sound):
            return "was answered with features, and cannot have any"
        if outcome == "invalid" and self.sound:
            return f"is sound and was refused: {result.error.message}"
        if result.error.reason == feature_pb2.ERROR_REASON_EXECUTION_FAILED and not self.failing:
            return f"was failed by the engine, which fails on others only: {result.error.message}"
        features = result.features.features
        if outcome == "ok" and self.mark and features and not features[0].values.startswith(self.mark):
            return "got another image's features"
        return None


class Account:
    """One stream as its client saw it.

    Args:
        name: for complaints.
        ordered: answers must come as the frames went.
    """

    def __init__(self, *, name: str, ordered: bool) -> None:
        self.name = name
        self.sent = 0
        self.answers: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._ordered = ordered
        self._open: dict[int, Expected] = {}

    @property
    def oldest(self) -> int | None:
        """The first frame sent that is not yet answered; None if there is none."""
        return next(iter(self._open), None)

    @property
    def in_flight(self) -> int:
        """Frames sent and not yet answered."""
        return len(self._open)

    def send(self, frame_id: int, expected: Expected) -> None:
        """Note a frame that is about to be sent."""
        self.sent += 1
        self._open[frame_id] = expected

    def answer(self, result: feature_service_pb2.FrameResult) -> str:
        """Note an answer; returns its outcome."""
        outcome = outcome_of(result)
        self.answers[outcome] += 1
        frame_id = result.frame_id
        if self._ordered and self.oldest not in (None, frame_id):
            self._complain(f"frame {frame_id} was answered before frame {self.oldest}")
        expected = self._open.pop(frame_id, None)
        if expected is None:
            self._complain(f"frame {frame_id} was answered twice, or never sent")
        elif complaint := expected.complaint(outcome, result):
            self._complain(f"frame {frame_id} {complaint}")
        return outcome

    def finish(self, summary: feature_service_pb2.StreamSummary | None) -> None:
        """Balance a stream that the server ended: every frame has its answer, and the summary says the same."""
        if self._open:
            self._complain(
                f"{self.in_flight} of {self.sent} frames were never answered, first {next(iter(self._open))}"
            )
        if summary is None:
            self._complain("ended without a summary")
            return
        seen = {
            "received": self.sent,
            "succeeded": self.answers["ok"],
            "failed": self.answers["invalid"] + self.answers["error"],
            "rejected": self.answers["rejected"],
            "dropped": self.answers["dropped"] + self.answers["expired"],
        }
        told = {name: getattr(summary, name) for name in seen}
        if told != seen:
            self._complain(f"the summary says {told}, the client saw {seen}")

    def _complain(self, what: str) -> None:
        self.complaints.append(f"{self.name}: {what}")
