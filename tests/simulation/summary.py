"""What a run comes to, in figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tests.simulation.devices import capacity
from tests.simulation.streams import Ending, Frame
from tests.simulation.world import Record

_GIVEN_UP = frozenset({Ending.EXPIRED, Ending.REFUSED, Ending.SUPERSEDED, Ending.REJECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One run.

    Attributes:
        goodput: frames a second, until the horizon, that were done within their deadline, or done if they had none.
        goodput_of_capacity: that as a part of the fleet's capacity.
        fairness: see `fairness`.
        wait_p50_s: from a frame's arrival until a device began with it, the median over the frames that a device had.
        wait_p99_s: the 99th percentile of that.
        hurried_p99_s: the same percentile over the frames with a deadline.
        missed: the part of the frames with a deadline, but for the superseded ones, that were not done by then.
        dropped: the part of the frames sent that no device had.
        mean_batch: frames in a batch.
        busy: the part of the time until the horizon in which devices worked.
    """

    goodput: float
    goodput_of_capacity: float
    fairness: float
    wait_p50_s: float
    wait_p99_s: float
    hurried_p99_s: float
    missed: float
    dropped: float
    mean_batch: float
    busy: float


def summarize(record: Record) -> Summary:
    """Reduce a run to its figures."""
    done = [frame for frame in record.frames if Ending.DONE in frame.endings]
    dropped = [frame for frame in record.frames if _GIVEN_UP.intersection(frame.endings)]
    goodput = sum(_before(frame, record.horizon_s) for frame in done) / record.horizon_s
    with_deadline = sum(
        frame.deadline is not None and Ending.SUPERSEDED not in frame.endings for frame in record.frames
    )
    in_time = sum(frame.deadline is not None for frame in done)
    hurried = [frame for frame in record.frames if frame.deadline is not None]
    busy_s = sum(max(0.0, min(batch.ended_at, record.horizon_s) - batch.started_at) for batch in record.batches)
    return Summary(
        goodput=goodput,
        goodput_of_capacity=goodput / capacity(record.fleet),
        fairness=fairness(record),
        wait_p50_s=_percentile(record.frames, 50),
        wait_p99_s=_percentile(record.frames, 99),
        hurried_p99_s=_percentile(hurried, 99),
        missed=1 - in_time / with_deadline if with_deadline else 0.0,
        dropped=len(dropped) / max(1, len(record.frames)),
        mean_batch=sum(batch.size for batch in record.batches) / max(1, len(record.batches)),
        busy=busy_s / (record.horizon_s * len(record.fleet)),
    )


def waits(frames: Sequence[Frame]) -> list[float]:
    """Give the seconds from arrival until a device began, of the frames that a device had."""
    return [frame.started_at - frame.sent_at for frame in frames if frame.started_at is not None]


def ages(frames: Sequence[Frame]) -> list[float]:
    """Give the seconds from capture until done, of the frames that were done."""
    return [frame.ended_at - frame.due_at for frame in frames if frame.ended_at is not None and frame.started_at]


def fairness(record: Record) -> float:
    """Give Jain's index over streams of what each got beside its fair share.

    With s_i the frames of stream i that devices computed before the horizon and d_i those that were due, the fair
    share is f_i = min(d_i, L w_i): max-min fair by weight, with the level L such that the shares add up to all that was
    computed. So x_i = s_i / f_i compares a backlogged stream with its weight's part, and any other with what it
    offered. The index is (sum x)^2 / (n sum x^2) over the n streams that offered anything (Jain, Chiu and Hawe, 1984,
    whose index is over allocations divided by the fair ones): 1 if everyone has its share, k/n if k of n have it all.
    """
    served = [0] * len(record.streams)
    for frame in record.frames:
        if frame.started_at is not None and _before(frame, record.horizon_s):
            served[frame.stream] += 1
    fair = fair_shares(sum(served), record.due, [stream.weight for stream in record.streams])
    parts = [got / share for got, share in zip(served, fair, strict=True) if share > 0]
    squares = sum(part * part for part in parts)
    return sum(parts) ** 2 / (len(parts) * squares) if squares else 1.0


def fair_shares(total: float, demands: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Share `total` out max-min fair by weight; nobody gets more than its demand."""
    left, weight_left, level = total, sum(weights), 0.0
    for height, weight in sorted((demand / weight, weight) for demand, weight in zip(demands, weights, strict=True)):
        rise = min(height - level, left / weight_left)
        left -= rise * weight_left
        level += rise
        if level < height:
            break
        weight_left -= weight
    return [min(demand, level * weight) for demand, weight in zip(demands, weights, strict=True)]


def _percentile(frames: Sequence[Frame], percent: int) -> float:
    return float(np.percentile(waits(frames), percent)) if waits(frames) else 0.0


def _before(frame: Frame, horizon_s: float) -> bool:
    return frame.ended_at is not None and frame.ended_at <= horizon_s
