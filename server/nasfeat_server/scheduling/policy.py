"""The decisions of scheduling, as pure functions over plain data; nothing here waits, reads a clock or keeps state."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One stream's waiting frames, as the policy sees them.

    Attributes:
        waiting: frames that wait, 1 or more.
        weight: the stream's share beside the others; a stream of weight 4 is served four frames for another's one.
        deficit: frames the stream is still owed from its last turn.
    """

    waiting: int
    weight: float
    deficit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Who gets how much of a batch.

    Attributes:
        takes: frames to take from each lane, by the lane's index.
        deficits: what each lane is owed afterwards.
        order: the lanes that still wait, in the order of their next turns.
    """

    takes: tuple[int, ...]
    deficits: tuple[float, ...]
    order: tuple[int, ...]


def share_out(lanes: Sequence[Lane], capacity: int) -> Shares:
    """Share `capacity` frames among `lanes` by deficit round robin (Shreedhar and Varghese, 1995), a frame costing 1.

    Lanes take turns in the order given. A turn begins by adding the lane's weight to its deficit and ends when the
    deficit is under one frame. A turn cut short by `capacity` goes on first next time, so that what a lane gets does
    not depend on where batches happen to end. A lane that runs empty forfeits its deficit.
    """
    waiting = [lane.waiting for lane in lanes]
    deficits = [lane.deficit for lane in lanes]
    order = deque(index for index, count in enumerate(waiting) if count)
    while capacity and order:
        index = order[0]
        if deficits[index] < 1:
            deficits[index] += lanes[index].weight
        take = min(int(deficits[index]), waiting[index], capacity)
        waiting[index] -= take
        deficits[index] -= take
        capacity -= take
        if not waiting[index]:
            deficits[index] = 0.0
            order.popleft()
        elif deficits[index] < 1:
            order.rotate(-1)
    takes = tuple(lane.waiting - left for lane, left in zip(lanes, waiting, strict=True))
    return Shares(takes=takes, deficits=tuple(deficits), order=tuple(order))


def batch_size(*, waiting: int, limit: int, buckets: Sequence[int], running: int) -> int:
    """Decide how many frames a replica takes now; 0 means that it waits.

    A free device takes what there is, at once: waiting for company would add latency and gain nothing. A busy device
    is given one batch to go on with, and only a full one: until the device is free, a smaller batch can still grow.
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


def largest_bucket(limit: int, buckets: Sequence[int]) -> int:
    """Find the largest prepared batch size that is at most `limit`, which is 1 or more."""
    return max(bucket for bucket in buckets if bucket <= limit)


def may_retry_in_company(attempts: int) -> bool:
    """Tell whether a frame whose batch has killed `attempts` replicas may share a batch again.

    The first loss is put down to the replica. After the second the frame runs alone, so that an image that kills
    takes no other with it.
    """
    return attempts < 2


def may_retry(attempts: int) -> bool:
    """Tell whether a frame that was in `attempts` lost batches may be tried once more."""
    return attempts < 3
