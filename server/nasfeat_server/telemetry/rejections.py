"""Why images and calls were refused, in the log: each kind of reason at most once a second."""

import logging
import time
from collections.abc import Callable

from nasfeat_server.telemetry.events import Refused

_log = logging.getLogger(__name__)


class Pauses:
    """Lets one of a kind through in each period, and counts the others. There must be few kinds."""

    def __init__(self, period_s: float) -> None:
        """Start with every kind due."""
        self._period_s = period_s
        self._due: dict[tuple[str, ...], float] = {}
        self._held_back: dict[tuple[str, ...], int] = {}

    def pass_through(self, kind: tuple[str, ...], now: float) -> int | None:
        """Say how many of `kind` were held back since the last that passed; None if this one is, too."""
        if now < self._due.get(kind, now):
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return None
        self._due[kind] = now + self._period_s
        return self._held_back.pop(kind, 0)


class RejectionLog:
    """An observer that writes refusals into the log; whoever floods the server does not flood that."""

    wanted = frozenset({Refused})

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, period_s: float = 1.0) -> None:
        """Write each (method, reason) at most once in `period_s`."""
        self._clock = clock
        self._pauses = Pauses(period_s)

    def observe(self, event: Refused) -> None:
        """Write `event`, or count it."""
        held_back = self._pauses.pass_through((event.method, event.reason), self._clock())
        if held_back is None:
            return
        _log.warning(
            "%s%s: %s: %s%s",
            event.method,
            _place(event),
            event.reason,
            event.message,
            f" (and {held_back} more like this before)" if held_back else "",
            extra=_fields(event, held_back),
        )


def _place(event: Refused) -> str:
    stream = f", stream {event.stream_id}" if event.stream_id else ""
    frame = f", frame {event.frame_id}" if event.frame_id is not None else ""
    tenant = f", tenant {event.tenant}" if event.tenant else ""
    return f"{stream}{frame}{tenant}"


def _fields(event: Refused, held_back: int) -> dict[str, object]:
    fields = {
        "method": event.method,
        "reason": event.reason,
        "stream_id": event.stream_id,
        "frame_id": event.frame_id,
        "tenant": event.tenant,
        "held_back": held_back,
        "trace_id": event.traced.trace_id if event.traced else "",
        "span_id": event.traced.span_id if event.traced else "",
    }
    return {name: value for name, value in fields.items() if value not in ("", None)}
