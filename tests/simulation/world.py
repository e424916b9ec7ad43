"""Streams, a discipline and devices put together, and run until every frame has ended."""

import functools
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.simulation.agenda import Agenda
from tests.simulation.devices import Device
from tests.simulation.disciplines import Discipline, Start
from tests.simulation.streams import Ending, Frame, Stream, seeded

from nasfeat_server.scheduling.windows import Window, WindowKeeper

NOISE = 0.03
"""The standard deviation of the logarithm of a batch's time."""
ROUND_TRIP_S = 0.001
"""From the end of a batch until a frame that waited for its stream's window arrives."""
HAND_OVER_S = 0.001
"""From giving a batch to a free device until it begins; a batch that was given ahead begins at once."""
_ADJUSTED_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch that a device ran."""

    device: int
    size: int
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What happened.

    Attributes:
        horizon_s: when the streams stopped sending; the frames on their way were still served.
        streams: the streams, by number.
        fleet: the devices.
        frames: every frame that was sent, in the order of sending.
        due: by stream, the frames that were due before the horizon, sent or not.
        batches: every batch, in the order of their ends.
    """

    horizon_s: float
    streams: Sequence[Stream]
    fleet: Sequence[Device]
    frames: Sequence[Frame]
    due: Sequence[int]
    batches: Sequence[Batch]


def together(records: Sequence[Record]) -> Record:
    """Put the runs of several servers together, which had the same horizon, as if they had been one."""
    frames: list[Frame] = []
    batches: list[Batch] = []
    streams: list[Stream] = []
    fleet: list[Device] = []
    for record in records:
        frames += (replace(frame, stream=frame.stream + len(streams)) for frame in record.frames)
        batches += (replace(batch, device=batch.device + len(fleet)) for batch in record.batches)
        streams += record.streams
        fleet += record.fleet
    return Record(
        horizon_s=records[0].horizon_s,
        streams=streams,
        fleet=fleet,
        frames=frames,
        due=[count for record in records for count in record.due],
        batches=batches,
    )


class _Source:
    """A stream's client: sends what is due as far as the window allows."""

    def __init__(self, number: int, stream: Stream, times: Iterator[float], window: Window) -> None:
        self.number = number
        self.stream = stream
        self.window = window
        self.due = 0
        self.blocked = False
        self._times = times
        self.next_due = next(times, math.inf)

    def take_next(self) -> float:
        due_at, self.next_due = self.next_due, next(self._times, math.inf)
        self.due += 1
        return due_at


class _Machine:
    """A device at work: one batch runs, at most one other waits."""

    def __init__(self, device: Device, rng: random.Random) -> None:
        self.device = device
        self.batches: deque[tuple[Frame, ...]] = deque()
        self.started_at = 0.0
        self._rng = rng

    def seconds_for(self, size: int, noise: float) -> float:
        return self.device.mean_s(size) * math.exp(self._rng.gauss(-noise * noise / 2, noise))


class World:
    """One run.

    Args:
        fleet: the devices.
        streams: the streams, all open from the start.
        discipline: what decides.
        seed: of all that is random. The same seed gives the same arrivals under every discipline.
        horizon_s: when the streams stop sending.
        noise: see `NOISE`.
        round_trip_s: see `ROUND_TRIP_S`.
        hand_over_s: see `HAND_OVER_S`.
    """

    def __init__(
        self,
        *,
        fleet: Sequence[Device],
        streams: Sequence[Stream],
        discipline: Discipline,
        seed: int,
        horizon_s: float,
        noise: float = NOISE,
        round_trip_s: float = ROUND_TRIP_S,
        hand_over_s: float = HAND_OVER_S,
    ) -> None:
        self._fleet = fleet
        self._streams = streams
        self._discipline = discipline
        self._seed = seed
        self._horizon_s = horizon_s
        self._noise = noise
        self._round_trip_s = round_trip_s
        self._hand_over_s = hand_over_s
        self._agenda = Agenda()
        self._machines = [_Machine(device, seeded(seed, f"device {n}")) for n, device in enumerate(fleet)]
        self._sources: list[_Source] = []
        self._frames: list[Frame] = []
        self._batches: list[Batch] = []
        self._wakes_at = math.inf

    def run(self) -> Record:
        """Run until every frame that was sent has ended."""
        keeper = WindowKeeper(self._slots())
        for number, stream in enumerate(self._streams):
            window = keeper.open(
                ceiling=stream.window, weight=stream.weight, announce=functools.partial(self._room, number)
            )
            times = stream.arrivals.times(seeded(self._seed, f"stream {number}"))
            self._sources.append(_Source(number, stream, times, window))
            self._discipline.open(number, stream)
        for source in self._sources:
            self._plan(source)
        self._plan_adjustment(keeper)
        self._agenda.run()
        return self._record()

    def _slots(self) -> int:
        """As many as the server makes by default, and at least two for each stream: no window is smaller."""
        return max(64, 4 * sum(device.limit for device in self._fleet), 2 * len(self._streams))

    def _plan_adjustment(self, keeper: WindowKeeper) -> None:
        def adjust() -> None:
            keeper.adjust()
            self._plan_adjustment(keeper)

        if self._agenda.now + _ADJUSTED_EVERY_S < self._horizon_s:
            self._agenda.at(self._agenda.now + _ADJUSTED_EVERY_S, adjust)

    def _plan(self, source: _Source) -> None:
        at = max(source.next_due, self._agenda.now)
        if at < self._horizon_s:
            self._agenda.at(at, functools.partial(self._advance, source))

    def _room(self, number: int, size: int) -> None:
        source = self._sources[number]
        if source.blocked and source.window.in_flight < size:
            self._advance(source)

    def _advance(self, source: _Source) -> None:
        """Send every frame that is due, as far as there is room for it."""
        source.blocked = False
        now = self._agenda.now
        while source.next_due <= now < self._horizon_s:
            if source.window.in_flight < source.window.size:
                self._send(source, source.take_next())
            elif source.stream.skips:
                source.take_next()
            else:
                source.blocked = True
                return
        self._plan(source)

    def _send(self, source: _Source, due_at: float) -> None:
        now = self._agenda.now
        deadline = None if source.stream.deadline_s is None else now + source.stream.deadline_s
        frame = Frame(stream=source.number, due_at=due_at, sent_at=now, deadline=deadline)
        self._frames.append(frame)
        _take_room(source.window)
        if not self._discipline.admits(frame, now):
            self._end(frame, Ending.REFUSED)
            return
        displaced = self._discipline.displaced(frame)
        if displaced is not frame:
            self._discipline.push(frame)
        if displaced:
            self._end(displaced, Ending.REJECTED if displaced is frame else Ending.SUPERSEDED)
        self._match()

    def _match(self) -> None:
        now = self._agenda.now
        for frame in self._discipline.expired(now):
            self._end(frame, Ending.EXPIRED)
        while starts := self._discipline.match(now):
            for start in starts:
                self._hand_over(start)
        self._plan_waking()

    def _plan_waking(self) -> None:
        wake_at = self._discipline.wake_at(self._agenda.now)
        if wake_at is not None and wake_at < self._wakes_at:
            self._wakes_at = wake_at
            self._agenda.at(wake_at, functools.partial(self._wake, wake_at))

    def _wake(self, planned_at: float) -> None:
        if planned_at == self._wakes_at:
            self._wakes_at = math.inf
        self._match()

    def _hand_over(self, start: Start) -> None:
        machine = self._machines[start.device]
        machine.batches.append(start.frames)
        if len(machine.batches) == 1:
            self._agenda.at(self._agenda.now + self._hand_over_s, functools.partial(self._begin, start.device))

    def _begin(self, number: int) -> None:
        machine = self._machines[number]
        machine.started_at = self._agenda.now
        for frame in machine.batches[0]:
            frame.started_at = machine.started_at
        seconds = machine.seconds_for(len(machine.batches[0]), self._noise)
        self._agenda.at(machine.started_at + seconds, functools.partial(self._finish, number))

    def _finish(self, number: int) -> None:
        machine, now = self._machines[number], self._agenda.now
        frames, started_at = machine.batches.popleft(), machine.started_at
        if machine.batches:
            self._begin(number)
        self._batches.append(Batch(device=number, size=len(frames), started_at=started_at, ended_at=now))
        for frame in frames:
            late = frame.deadline is not None and frame.deadline < now
            self._end(frame, Ending.LATE if late else Ending.DONE)
        self._discipline.finished(number, len(frames), now - started_at, now)
        self._match()

    def _end(self, frame: Frame, ending: Ending) -> None:
        frame.ended_at = self._agenda.now
        frame.endings.append(ending)
        self._agenda.at(self._agenda.now + self._round_trip_s, functools.partial(self._answered, frame.stream))

    def _answered(self, number: int) -> None:
        window = self._sources[number].window
        window.leave()
        self._room(number, window.size)

    def _record(self) -> Record:
        for source in self._sources:
            while source.next_due < self._horizon_s:
                source.take_next()
        return Record(
            horizon_s=self._horizon_s,
            streams=self._streams,
            fleet=self._fleet,
            frames=self._frames,
            due=[source.due for source in self._sources],
            batches=self._batches,
        )


def _take_room(window: Window) -> None:
    """Run `window.enter`, which does not wait where there is room."""
    with_room = window.enter()
    try:
        with_room.send(None)
    except StopIteration:
        return
    raise AssertionError("a frame is sent only where there is room")
