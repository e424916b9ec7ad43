"""The frames that wait, one lane a stream: a plain structure that `policy` decides over, without a clock of its own.

The server's queue and the simulator of tests/simulation both drive this very code.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from nasfeat_server.scheduling import policy


class Waiting(Protocol):
    """What a lane holds."""

    @property
    def lane(self) -> int:
        """The lane's number."""
        ...

    @property
    def deadline(self) -> float | None:
        """When the frame must be done, on whatever clock the caller has; None for never."""
        ...


_T = TypeVar("_T", bound=Waiting)

_END_OF_ROUND = 0


class _Lane(Generic[_T]):
    __slots__ = ("deficit", "frames", "live", "round", "weight")

    def __init__(self, weight: float, *, live: bool) -> None:
        self.weight = weight
        self.live = live
        self.deficit = 0.0
        # The round in which it last had a turn.
        self.round = -1
        self.frames: deque[_T] = deque()


class Lanes(Generic[_T]):
    """The waiting frames of all streams.

    Attributes:
        depth: frames that wait.
        live_depth: those of them that grow stale.
        live_lanes: streams whose frames do.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.live_depth = 0
        self.live_lanes = 0
        self._lanes: dict[int, _Lane[_T]] = {}
        # The lanes that wait, in the order of their turns, with a mark where the round ends. A lane that begins to wait
        # and has had no turn in this round goes before them, after DRR++ (MacGregor and Shi, 2000): a stream that sends
        # less than its share hardly waits, and since it does so once a round, the others lose nothing they are owed.
        self._sparse: deque[int] = deque()
        self._turns: deque[int] = deque([_END_OF_ROUND])
        self._round = 0
        self._weight = 0.0
        self._numbers = itertools.count(1)
        # Every frame with a deadline, the tightest on top; the ones that have left are skipped when they come up.
        self._deadlines: list[tuple[float, int, _T]] = []
        self._arrivals = itertools.count()

    def open(self, weight: float, *, live: bool = False) -> int:
        """Add a stream and return the number of its lane.

        Args:
            weight: its share of the devices.
            live: its frames grow stale while they wait.
        """
        number = next(self._numbers)
        self._lanes[number] = _Lane(weight, live=live)
        self.live_lanes += live
        return number

    def close(self, lane: int) -> None:
        """Forget a stream that has no frames waiting."""
        self.live_lanes -= self._lanes.pop(lane).live

    def is_live(self, lane: int) -> bool:
        """Tell whether the frames of `lane` grow stale."""
        return self._lanes[lane].live

    def waiting_in(self, lane: int) -> int:
        """Count the frames that wait in `lane`."""
        return len(self._lanes[lane].frames)

    def oldest(self, lane: int) -> _T:
        """Look at the frame of `lane` that has waited longest; one waits."""
        return self._lanes[lane].frames[0]

    def shares(self) -> Iterator[tuple[int, float]]:
        """Give the waiting frames and the weight of every stream that waits."""
        waiting = (self._lanes[number] for number in (*self._sparse, *self._turns) if number != _END_OF_ROUND)
        return ((len(lane.frames), lane.weight) for lane in waiting)

    def weight_of(self, lane: int) -> float:
        """Give the share of a stream."""
        return self._lanes[lane].weight

    def push(self, frame: _T) -> None:
        """Let `frame` wait in its lane."""
        lane = self._lanes[frame.lane]
        if not lane.frames:
            self._weight += lane.weight
            (self._turns if lane.round == self._round else self._sparse).append(frame.lane)
        lane.frames.append(frame)
        self._count(lane, 1)
        if frame.deadline is not None:
            heapq.heappush(self._deadlines, (frame.deadline, next(self._arrivals), frame))

    def remove(self, frame: _T) -> bool:
        """Take `frame` out; False if it does not wait here."""
        lane = self._lanes.get(frame.lane)
        if lane is None or frame not in lane.frames:
            return False
        lane.frames.remove(frame)
        self._left(frame.lane, 1)
        return True

    def tightest(self) -> float | None:
        """Give the earliest deadline among the waiting frames; None if there is none."""
        while self._deadlines and not self._waits(self._deadlines[0][2]):
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def take_hopeless(self, done_at: float) -> list[_T]:
        """Take out the frames whose deadline is before `done_at`, when the first of them could be done."""
        hopeless: list[_T] = []
        while (deadline := self.tightest()) is not None and deadline < done_at:
            frame = heapq.heappop(self._deadlines)[2]
            self.remove(frame)
            hopeless.append(frame)
        return hopeless

    def take(self, size: int, *, done_at: float = 0.0, urgent_before: float = 0.0) -> list[_T]:
        """Take out the frames of the next batch.

        Args:
            size: frames to take, at most.
            done_at: when the batch will be done: streams whose next frame has an earlier deadline are left out.
            urgent_before: a frame with a deadline before this would be late in the batch after; it goes first, ahead
                of its stream's turn, as far as the stream may borrow.

        Returns:
            As many frames as asked for, if so many wait in streams that are not left out.
        """
        frames = self._take_urgent(size, done_at, urgent_before) if urgent_before else []
        left = size - len(frames)
        return frames + self._take_fairly(left, done_at) if left else frames

    def put_back(self, frames: Sequence[_T]) -> None:
        """Undo a `take` of `frames`, its last ones."""
        for frame in reversed(frames):
            lane = self._lanes[frame.lane]
            if not lane.frames:
                self._turns.appendleft(frame.lane)
                self._weight += lane.weight
            lane.frames.appendleft(frame)
            lane.deficit += 1
            self._count(lane, 1)
            if frame.deadline is not None:
                heapq.heappush(self._deadlines, (frame.deadline, next(self._arrivals), frame))

    def _take_urgent(self, size: int, done_at: float, before: float) -> list[_T]:
        taken: list[_T] = []
        passed_over: list[tuple[float, int, _T]] = []
        while len(taken) < size and (deadline := self.tightest()) is not None and deadline < before:
            entry = heapq.heappop(self._deadlines)
            frame = entry[2]
            lane = self._lanes[frame.lane]
            # Behind another frame of its stream it waits for that one, which is as urgent or has no deadline.
            if lane.frames[0] is frame and deadline >= done_at and policy.may_borrow(lane.deficit):
                lane.deficit -= 1
                lane.frames.popleft()
                self._left(frame.lane, 1)
                lane.round = self._round
                taken.append(frame)
            else:
                passed_over.append(entry)
        for entry in passed_over:
            heapq.heappush(self._deadlines, entry)
        return taken

    def _take_fairly(self, size: int, done_at: float) -> list[_T]:
        looked_at: list[int] = []
        skipped: list[int] = []

        def turns() -> Iterator[policy.Lane]:
            while (number := self._next_turn()) is not None:
                lane = self._lanes[number]
                deadline = lane.frames[0].deadline
                if deadline is not None and deadline < done_at:
                    skipped.append(number)
                    continue
                looked_at.append(number)
                lane.round = self._round
                yield policy.Lane(waiting=len(lane.frames), weight=lane.weight, deficit=lane.deficit)

        shares = policy.share_out(turns(), size, self._weight)
        self._turns.extendleft(reversed([*skipped, *(looked_at[turn] for turn in shares.first)]))
        self._turns.extend(looked_at[turn] for turn in shares.last)
        frames: list[_T] = []
        for number, take, deficit in zip(looked_at, shares.takes, shares.deficits, strict=False):
            lane = self._lanes[number]
            lane.deficit = deficit
            frames.extend(lane.frames.popleft() for _ in range(take))
            self._count(lane, -take)
            if not lane.frames:
                self._weight -= lane.weight
        return frames

    def _next_turn(self) -> int | None:
        """Take the next lane from those that wait; None if there is none."""
        if self._sparse:
            return self._sparse.popleft()
        number = self._turns.popleft()
        if number != _END_OF_ROUND:
            return number
        self._round += 1
        following = self._turns.popleft() if self._turns else None
        self._turns.append(_END_OF_ROUND)
        return following

    def _waits(self, frame: _T) -> bool:
        lane = self._lanes.get(frame.lane)
        return lane is not None and frame in lane.frames

    def _left(self, number: int, count: int) -> None:
        lane = self._lanes[number]
        self._count(lane, -count)
        if not lane.frames:
            (self._sparse if number in self._sparse else self._turns).remove(number)
            self._weight -= lane.weight
            lane.deficit = min(lane.deficit, 0.0)

    def _count(self, lane: _Lane[_T], change: int) -> None:
        self.depth += change
        if lane.live:
            self.live_depth += change
