"""How large a replica's batches may be after its device ran out of memory, as pure functions."""

from dataclasses import dataclass, replace

FIRST_HOLD_S = 30.0
LONGEST_HOLD_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimit:
    """The largest batch of one replica.

    Attributes:
        size: the limit in force.
        ceiling: the largest batch prepared.
        hold_s: how long a lowered limit stays before twice as much is tried.
        raise_at: when that is; None while the limit is the ceiling.
        raised_at: when the limit was last raised; None if it has been lowered since, or was never raised.
    """

    size: int
    ceiling: int
    hold_s: float = FIRST_HOLD_S
    raise_at: float | None = None
    raised_at: float | None = None


def after_out_of_memory(limit: BatchLimit, batch: int, now: float) -> BatchLimit:
    """Lower the limit to half of the batch that did not fit; after a trial that failed, hold it twice as long."""
    if limit.raised_at is not None and now - limit.raised_at < limit.hold_s:
        hold_s = min(2 * limit.hold_s, LONGEST_HOLD_S)
    else:
        hold_s = FIRST_HOLD_S if limit.raise_at is None else limit.hold_s
    size = max(1, min(limit.size, batch // 2))
    return BatchLimit(size=size, ceiling=limit.ceiling, hold_s=hold_s, raise_at=now + hold_s)


def after_time(limit: BatchLimit, now: float) -> BatchLimit:
    """Double the limit once it has held long enough: the memory may be free again."""
    if limit.raise_at is None or now < limit.raise_at:
        return limit
    size = min(2 * limit.size, limit.ceiling)
    raise_at = None if size == limit.ceiling else now + limit.hold_s
    return replace(limit, size=size, raise_at=raise_at, raised_at=now)
