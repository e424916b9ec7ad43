"""The decisions of scheduling, as pure functions over plain data; nothing here waits, reads a clock or keeps state."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nasfeat_server.scheduling.latency import LatencyModel

MOST_BORROWED = 1.0
"""Frames that a stream may be served ahead of its turn, when their deadline would pass otherwise."""

AHEAD_S = 0.005
"""How long before a replica is free it may be given its next batch: some times what the hand-over takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One stream's waiting frames, as the policy sees them.

    Attributes:
        waiting: frames that wait, 1 or more.
        weight: the stream's share beside the others; a stream of weight 4 is served four frames for another's one.
        deficit: frames the stream is still owed from its last turn; below 0 if it was served ahead of its turn.
    """

    waiting: int
    weight: float
    deficit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Who gets how much of a batch. Lanes are named by their place among those that were looked at.

    Attributes:
        takes: frames to take from each lane that was looked at; the lanes after these keep their turns.
        deficits: what each of these lanes is owed afterwards.
        first: the lanes whose turn goes on, before all others.
        last: the lanes whose turn is over and that still wait, after all others.
    """

    takes: tuple[int, ...]
    deficits: tuple[float, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]


def share_out(lanes: Iterable[Lane], capacity: int, total_weight: float) -> Shares:
    """Share `capacity` frames among `lanes` by deficit round robin (Shreedhar and Varghese, 1995), a frame costing 1.

    Lanes take turns in the order given, and no more of them are looked at than the batch needs. A turn begins by
    adding the lane's weight to its deficit and ends when the deficit is under one frame. No lane gets more than its
    weight's part of a batch, rounded up, unless the others leave room: a lane of great weight spends its turn over
    several batches. A turn cut short goes on first next time, so that what a lane gets does not depend on where
    batches happen to end. A lane that runs empty forfeits its deficit.

    Args:
        lanes: the streams that wait, in the order of their turns.
        capacity: frames to share out.
        total_weight: of all streams that wait.
    """
    round_ = _Round(lanes, capacity, total_weight)
    while round_.capacity and (turn := round_.next_turn()) is not None:
        round_.serve(turn)
    return round_.shares()


class _Round:
    """The working state of `share_out`."""

    def __init__(self, lanes: Iterable[Lane], capacity: int, total_weight: float) -> None:
        self.capacity = capacity
        self._batch = capacity
        self._total_weight = total_weight
        self._unseen = iter(lanes)
        self._lanes: list[Lane] = []
        self._waiting: list[int] = []
        self._deficits: list[float] = []
        self._served: deque[int] = deque()
        self._capped: list[int] = []
        self._caps_lifted = False

    def next_turn(self) -> int | None:
        lane = next(self._unseen, None)
        if lane is not None:
            self._lanes.append(lane)
            self._waiting.append(lane.waiting)
            self._deficits.append(lane.deficit)
            return len(self._lanes) - 1
        if not self._served:
            # Only lanes that had their part are left: what remains of the batch is theirs.
            self._caps_lifted = True
            self._served.extend(self._capped)
            self._capped.clear()
        return self._served.popleft() if self._served else None

    def serve(self, turn: int) -> None:
        weight = self._lanes[turn].weight
        if self._deficits[turn] < 1:
            self._deficits[turn] += weight
        take = max(0, min(int(self._deficits[turn]), self._waiting[turn], self.capacity, self._room(turn)))
        self._waiting[turn] -= take
        self._deficits[turn] -= take
        self.capacity -= take
        if not self._waiting[turn]:
            self._deficits[turn] = min(self._deficits[turn], 0.0)
        elif self._deficits[turn] >= 1:
            self._capped.append(turn)
        else:
            self._served.append(turn)

    def _room(self, turn: int) -> int:
        if self._caps_lifted:
            return self.capacity
        lane = self._lanes[turn]
        part = math.ceil(self._batch * lane.weight / max(self._total_weight, lane.weight))
        return part - (lane.waiting - self._waiting[turn])

    def shares(self) -> Shares:
        takes = (lane.waiting - left for lane, left in zip(self._lanes, self._waiting, strict=True))
        return Shares(
            takes=tuple(takes),
            deficits=tuple(self._deficits),
            first=tuple(self._capped),
            last=tuple(self._served),
        )


def batch_size(*, waiting: int, limit: int, buckets: Sequence[int], running: int) -> int:
    """Decide how many frames a replica takes now; 0 means that it waits.

    A free device takes what there is, at once: waiting for company would add latency and gain nothing. A busy device
    that `may_run_ahead` is given one batch to go on with, and only a full one: a smaller batch can still grow.
    The size is rounded down to a prepared bucket, so that the device never works on padding.

    Args:
        waiting: frames that wait.
        limit: the most frames that the replica takes.
        buckets: the prepared batch sizes, ascending, the first being 1.
        running: batches that the replica already has.
    """
    if running > 1 or not waiting:
        return 0
    size = largest_bucket(min(waiting, limit), buckets)
    return size if running == 0 or size == largest_bucket(limit, buckets) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a batch is filled.

    Attributes:
        size: its frames.
        done_at: when it will be done: a frame with an earlier deadline is left to a faster replica.
        urgent_before: frames with a deadline before this would be late in the batch after, and go first; 0 for none.
    """

    size: int
    done_at: float
    urgent_before: float


def may_run_ahead(free_in_s: float, live_waiting: int) -> bool:
    """Tell whether a busy replica may be given its next batch, when it is free in `free_in_s` by its latency model.

    That hides the time of the hand-over. Any earlier would bind frames to this device while another one becomes free.
    Frames of live video are given to free devices only, while a newer one may still take their place; as long as any of
    them waits no device runs ahead, or the others would always be before it.
    """
    return free_in_s <= AHEAD_S and not live_waiting


def choose(
    size: int,
    *,
    buckets: Sequence[int],
    model: LatencyModel,
    start_at: float,
    tightest: float | None,
    crowded: bool,
) -> Choice:
    """Fill a batch of up to `size` frames so that the tightest deadline of the queue holds, if it can.

    When more wait than all replicas take at once, batches stay as large as they can be: smaller ones do less in the
    same time, and would make everyone late who comes after.

    Args:
        size: what the replica would take without deadlines.
        buckets: the prepared batch sizes, ascending, the first being 1.
        model: how long the replica takes.
        start_at: when the device begins with this batch.
        tightest: the earliest deadline in the queue, on the clock of `start_at`; None if there is none.
        crowded: more frames wait than all replicas take at once.
    """
    if tightest is None:
        return Choice(size=size, done_at=0.0, urgent_before=0.0)
    slack_s = math.inf if crowded else tightest - start_at
    fitting = size_in_time(size, buckets=buckets, model=model, slack_s=slack_s)
    done_at = start_at + model.predict_s(fitting)
    return Choice(size=fitting, done_at=done_at, urgent_before=done_at + model.predict_s(1))


def size_in_time(size: int, *, buckets: Sequence[int], model: LatencyModel, slack_s: float) -> int:
    """Shrink a batch until its tightest deadline holds: the largest bucket up to `size` that takes at most `slack_s`.

    Returns:
        `size` if even one frame would be too late here: a smaller batch would help nobody.
    """
    return max((bucket for bucket in buckets if bucket <= size and model.predict_s(bucket) <= slack_s), default=size)


def largest_bucket(limit: int, buckets: Sequence[int]) -> int:
    """Find the largest prepared batch size that is at most `limit`, which is 1 or more."""
    return max(bucket for bucket in buckets if bucket <= limit)


def may_borrow(deficit: float) -> bool:
    """Tell whether a stream that is owed `deficit` frames may be served one ahead of its turn.

    What it borrows it pays back from its next turns, so that deadlines decide when a stream is served and weights
    decide how much.
    """
    return deficit - 1 >= -MOST_BORROWED


def may_retry_in_company(attempts: int) -> bool:
    """Tell whether a frame whose batch has killed `attempts` replicas may share a batch again.

    The first loss is put down to the replica. After the second the batch is divided into its single frames at once: a
    replica takes seconds to come back and a frame milliseconds to run, so that halving the batch, death by death, would
    cost far more than running each frame alone.
    """
    return attempts < 2


def may_retry(attempts: int) -> bool:
    """Tell whether a frame that was in `attempts` lost batches may be tried once more."""
    return attempts < 3


def divided(count: int, limit: int, buckets: Sequence[int]) -> tuple[int, ...]:
    """Divide `count` frames that failed together into the batches to try next: halves, each a prepared size.

    An engine that failed and lives costs one run for each try, so that halving finds the one bad frame of n in about
    2 log2 n runs.

    Args:
        count: frames, 1 or more; one alone stays alone.
        limit: the most frames that a replica takes.
        buckets: the prepared batch sizes, ascending, the first being 1.
    """
    most = max(1, min(limit, math.ceil(count / 2)))
    parts: list[int] = []
    while count:
        parts.append(largest_bucket(min(count, most), buckets))
        count -= parts[-1]
    return tuple(parts)
