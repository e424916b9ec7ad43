"""What becomes of a stream's frames when they come faster than they can be computed, as pure functions."""

from dataclasses import dataclass
from enum import Enum


class OverloadPolicy(Enum):
    """What a stream wants done then; the wire's names."""

    BLOCK = "block"
    DROP_OLDEST = "drop_oldest"
    LATEST_ONLY = "latest_only"
    REJECT = "reject"


class Verdict(Enum):
    """Who has to go."""

    NOBODY = "nobody"
    OLDEST_UNDECODED = "oldest_undecoded"
    OLDEST_QUEUED = "oldest_queued"
    NEWCOMER = "newcomer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One stream's frames that no device has yet.

    Attributes:
        undecoded: frames received that wait for room to be decoded.
        decoding: frames being decoded.
        queued: frames that wait for a device; each of them is older than any of the others.
    """

    undecoded: int
    decoding: int
    queued: int


def on_arrival(policy: OverloadPolicy, waiting: Waiting, backlog: int) -> Verdict:
    """Decide who makes room for a frame that has just been received.

    A frame that is being decoded is not waiting and is never given up for a newer one: a source that is faster than
    the decoder would otherwise see none of its frames computed.

    Args:
        policy: the stream's.
        waiting: the frames there are, without the newcomer.
        backlog: the most that may wait, 1 or more.
    """
    if policy is OverloadPolicy.LATEST_ONLY:
        return Verdict.OLDEST_UNDECODED if waiting.undecoded else Verdict.NOBODY
    if policy is OverloadPolicy.DROP_OLDEST and waiting.undecoded + waiting.queued >= backlog:
        return Verdict.OLDEST_QUEUED if waiting.queued else Verdict.OLDEST_UNDECODED
    # What has been accepted stays: a frame that is being decoded will need its place.
    if policy is OverloadPolicy.REJECT and waiting.undecoded + waiting.decoding + waiting.queued >= backlog:
        return Verdict.NEWCOMER
    return Verdict.NOBODY


def on_decoded(policy: OverloadPolicy, waiting: Waiting, backlog: int) -> Verdict:
    """Decide who makes room for a frame that has been decoded and is about to wait for a device.

    Args:
        policy: the stream's.
        waiting: the frames there are, without this one.
        backlog: the most that may wait, 1 or more.
    """
    if policy is OverloadPolicy.LATEST_ONLY:
        return Verdict.OLDEST_QUEUED if waiting.queued else Verdict.NOBODY
    if policy is OverloadPolicy.DROP_OLDEST and waiting.undecoded + waiting.queued >= backlog:
        # With nothing queued, this one is the oldest that waits.
        return Verdict.OLDEST_QUEUED if waiting.queued else Verdict.NEWCOMER
    return Verdict.NOBODY
