"""Our discipline: the decisions of `nasfeat_server.scheduling`, called in the order in which the server calls them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tests.simulation.devices import Device, buckets
from tests.simulation.disciplines import Start
from tests.simulation.streams import Frame, Stream

from nasfeat_server.engine.interface import Executor
from nasfeat_server.scheduling import admission, overload, policy
from nasfeat_server.scheduling.lanes import Lanes
from nasfeat_server.scheduling.overload import OverloadPolicy, Verdict, Waiting
from nasfeat_server.scheduling.seat import Seat
from nasfeat_server.scheduling.seats import Seats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replica:
    """As much of an executor as its seat looks at."""

    device: str
    max_batch_size: int


class Ours:
    """Lanes with deficit round robin, pull with one full batch ahead, deadlines, admission and overload policies.

    `admits`, `match` and `_form` follow `scheduling.dispatcher` and `scheduling.queue` line by line; whatever else is
    decided here, the server's own functions decide.

    Args:
        fleet: the devices.
    """

    def __init__(self, fleet: Sequence[Device]) -> None:
        replicas = [_Replica(device=str(number), max_batch_size=device.limit) for number, device in enumerate(fleet)]
        self._buckets = buckets(max(device.limit for device in fleet))
        self._devices = [Seat(cast(Executor, replica)) for replica in replicas]
        self._numbers = {seat: number for number, seat in enumerate(self._devices)}
        self._seats = Seats(self._buckets)
        for seat in self._devices:
            self._seats.sit_down(seat)
            # A replica always asks; one that holds two batches is given nothing.
            self._seats.asking.add(seat)
        self._lanes: Lanes[Frame] = Lanes()
        self._streams: dict[int, tuple[int, Stream]] = {}

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "nasfeat"

    def open(self, number: int, stream: Stream) -> None:
        """Open a lane."""
        lane = self._lanes.open(stream.weight, live=stream.overload is OverloadPolicy.LATEST_ONLY)
        self._streams[number] = lane, stream

    def admits(self, frame: Frame, now: float) -> bool:
        """Refuse what cannot be ready in time, as the dispatcher does."""
        frame.lane = self._streams[frame.stream][0]
        if frame.deadline is None:
            return True
        lanes = self._lanes
        if now + self._ready_in_s(lanes.depth, now) <= frame.deadline:
            return True
        ahead = admission.frames_ahead(lanes.waiting_in(frame.lane), lanes.weight_of(frame.lane), lanes.shares())
        return now + self._ready_in_s(min(ahead, lanes.depth), now) <= frame.deadline

    def _ready_in_s(self, ahead: int, now: float) -> float:
        return admission.ready_in_s(ahead, self._seats.means(now, admission.own_batch(ahead, self._buckets)))

    def displaced(self, frame: Frame) -> Frame | None:
        """Give up the frame that the stream's overload policy names; decoding takes no time here."""
        lane, stream = self._streams[frame.stream]
        queued = self._lanes.waiting_in(lane)
        for moment in (overload.on_arrival, overload.on_decoded):
            verdict = moment(stream.overload, Waiting(undecoded=0, decoding=0, queued=queued), stream.backlog)
            if verdict is Verdict.OLDEST_QUEUED:
                oldest = self._lanes.oldest(lane)
                self._lanes.remove(oldest)
                return oldest
            if verdict is Verdict.NEWCOMER:
                return frame
        return None

    def push(self, frame: Frame) -> None:
        """Let it wait in its lane."""
        self._lanes.push(frame)

    def expired(self, now: float) -> Sequence[Frame]:
        """Give up what no device can do in time any more."""
        return self._lanes.take_hopeless(now + self._seats.fastest_s(1))

    def match(self, now: float) -> Sequence[Start]:
        """Hand batches to the devices that ask: free before busy ones, the fastest first, then who asks longest."""
        starts: list[Start] = []
        for seat in self._seats.asking.candidates(now, lambda: self._lanes.depth):
            if not self._lanes.depth:
                break
            frames = self._form(seat, now)
            if frames:
                starts.append(Start(device=self._numbers[seat], frames=tuple(frames)))
                self._seats.begin(seat, len(frames), now)
                self._seats.asking.add(seat)
        return starts

    def _form(self, seat: Seat, now: float) -> list[Frame]:
        if seat.running and not policy.may_run_ahead(seat.free_at(now) - now, self._lanes.live_depth):
            return []
        size = self._size(seat, self._lanes.depth)
        if not size:
            return []
        choice = policy.choose(
            size,
            buckets=self._buckets,
            model=seat.latency.model,
            start_at=seat.free_at(now),
            tightest=self._lanes.tightest(),
            crowded=self._lanes.depth > self._seats.capacity,
        )
        if seat.running and choice.size < size:
            return []
        frames = self._lanes.take(choice.size, done_at=choice.done_at, urgent_before=choice.urgent_before)
        fitting = self._size(seat, len(frames))
        self._lanes.put_back(frames[fitting:])
        return frames[:fitting]

    def _size(self, seat: Seat, waiting: int) -> int:
        return policy.batch_size(waiting=waiting, limit=seat.limit.size, buckets=self._buckets, running=seat.running)

    def finished(self, device: int, size: int, busy_s: float, now: float) -> None:
        """Learn how long it took."""
        seat = self._devices[device]
        seat.latency.observe(size, busy_s)
        self._seats.end(seat, now)

    def wake_at(self, now: float) -> float | None:
        """When the tightest deadline has passed, or a busy device may be given its next batch."""
        tightest = self._lanes.tightest()
        times = [] if tightest is None else [math.nextafter(tightest, math.inf)]
        if self._lanes.depth and (ahead_at := self._seats.asking.ahead_at(now)) is not None:
            times.append(ahead_at)
        return min(times, default=None)
