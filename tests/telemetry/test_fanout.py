"""Several observers as one."""

from typing import Any

from nasfeat_server.telemetry.events import Event, FrameReceived, Refused, ReloadFinished
from nasfeat_server.telemetry.fanout import Fanout


class _Keeper:
    """Keeps what it is told."""

    def __init__(self, *wanted: type[Any]) -> None:
        self.wanted = wanted
        self.kept: list[Any] = []

    def observe(self, event: Any) -> None:
        """Keep `event`."""
        self.kept.append(event)


def test_each_hears_what_it_wants() -> None:
    """An event goes to all who want its kind, in order, and to nobody else; one that nobody wants does no harm."""
    frames, both = _Keeper(FrameReceived), _Keeper(FrameReceived, ReloadFinished)
    fanout = Fanout(frames, both)
    told: list[Event] = [FrameReceived(), ReloadFinished(outcome="failed"), Refused(method="", reason="", message="")]
    for event in told:
        fanout.observe(event)
    assert frames.kept == told[:1]
    assert both.kept == told[:2]
