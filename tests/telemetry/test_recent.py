"""The last refusals."""

from nasfeat_server.telemetry.events import Refused
from nasfeat_server.telemetry.recent import RecentRefusals


def _refused(reason: str, *, stream_id: str = "", message: str = "no") -> Refused:
    return Refused(method="StreamFeatures", reason=reason, message=message, stream_id=stream_id)


def test_the_newest_come_first() -> None:
    """With the time at which they were."""
    now = iter([1.0, 2.0])
    recent = RecentRefusals(clock=lambda: next(now))
    for reason in ("Overloaded", "InvalidImage"):
        recent.observe(_refused(reason))
    assert [(one.last.reason, one.at) for one in recent.newest_first()] == [("InvalidImage", 2.0), ("Overloaded", 1.0)]


def test_a_flood_takes_one_place() -> None:
    """A thousand refusals of a stream for one reason leave what was refused before, and show their last message."""
    recent = RecentRefusals()
    recent.observe(_refused("ModelNotFound"))
    for number in range(1000):
        recent.observe(_refused("Overloaded", stream_id="cam", message=f"number {number}"))
    flood, other = recent.newest_first()
    assert (flood.count, flood.last.message) == (1000, "number 999")
    assert other.last.reason == "ModelNotFound"


def test_what_is_kept_is_bounded() -> None:
    """However many stream ids there are: the oldest go."""
    recent = RecentRefusals()
    for number in range(1000):
        recent.observe(_refused("Overloaded", stream_id=f"cam {number}"))
    kept = [one.last.stream_id for one in recent.newest_first()]
    assert kept == [f"cam {number}" for number in range(999, 949, -1)]
