"""How busy the server is now: the difference of two looks at what is counted anyway."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nasfeat_server.telemetry.events import Outcome
from nasfeat_server.telemetry.figures import FrameFigures

# Longer than most batches, short enough to follow a load that comes and goes.
_WINDOW_S = 3.0
# However many ask, and however often.
_PERIOD_S = 0.25
_KEPT = round(_WINDOW_S / _PERIOD_S) + 1
_FAILURES = (Outcome.ERROR, Outcome.REJECTED, Outcome.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is bounded, at one moment.

    Attributes:
        slots: images that the server holds at most.
        slots_in_use: those that it holds.
        queued: of these, the ones that wait for a device.
        waiting: images that wait for a slot.
        queue_wait_s: seconds that the devices need for those that are queued.
        devices_up: devices whose replica takes work.
    """

    slots: int
    slots_in_use: int
    queued: int
    waiting: int
    queue_wait_s: float
    devices_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy the server was in the last seconds.

    Attributes:
        utilization: the share of its capacity that is in use; above 1 it has more than it can do.
        cpu: the share of the server's processor time that the processes took that take calls, 0 to 1.
        devices: the share of their time that its devices computed, 0 to 1.
        frames_per_s: images answered with features.
        failures_per_s: images that it failed on, refused for want of room, or could not have in time.
        room: what is bounded, now.
    """

    utilization: float
    cpu: float
    devices: float
    frames_per_s: float
    failures_per_s: float
    room: Room


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    at: float
    cpu_s: float
    busy_s: float
    answered: int
    failed: int


class LoadMeter:
    """Tells the load to whoever asks; while nobody does, nothing is done.

    Args:
        frames: what was counted of images.
        busy_s: seconds that all devices together have computed.
        room: what is bounded, now.
        cores: processor seconds a second that the server may use.
        clock: the monotonic one.
        cpu_clock: processor seconds of the processes that take calls.
    """

    def __init__(
        self,
        *,
        frames: Callable[[], FrameFigures],
        busy_s: Callable[[], float],
        room: Callable[[], Room],
        cores: float,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._frames = frames
        self._busy_s = busy_s
        self._room = room
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._cores = cores
        self._looks = deque((self._look(),), maxlen=_KEPT)
        self._load: Load | None = None

    def __call__(self) -> Load:
        """Give the load of the last seconds, or since somebody asked last, if that is longer ago."""
        if not self._load or self._clock() - self._looks[-1].at >= _PERIOD_S:
            self._looks.append(self._look())
            self._load = self._made()
        return self._load

    def _look(self) -> _Look:
        outcomes = self._frames().outcomes
        return _Look(
            at=self._clock(),
            cpu_s=self._cpu_clock(),
            busy_s=self._busy_s(),
            answered=outcomes[Outcome.OK],
            failed=sum(outcomes[outcome] for outcome in _FAILURES),
        )

    def _made(self) -> Load:
        last = self._looks[-1]
        recent = (look for look in self._looks if _PERIOD_S <= last.at - look.at <= _WINDOW_S)
        # After a pause nothing is recent: then it is what was between.
        base = next(recent, self._looks[-2])
        seconds = max(last.at - base.at, 1e-3)
        room = self._room()
        # A batch counts when it is done. A server without a device has no capacity that is not in use.
        available_s = seconds * room.devices_up
        devices = min(1.0, (last.busy_s - base.busy_s) / available_s) if available_s else 1.0
        return Load(
            utilization=devices + (room.queued + room.waiting) / max(1, room.slots),
            cpu=min(1.0, (last.cpu_s - base.cpu_s) / (seconds * self._cores)),
            devices=devices,
            frames_per_s=(last.answered - base.answered) / seconds,
            failures_per_s=(last.failed - base.failed) / seconds,
            room=room,
        )
