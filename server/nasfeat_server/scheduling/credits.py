"""How many frames each stream may have in flight: the arena's slots, shared out among the streams that use them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

FLOOR = 2
"""Every stream may have one frame on a device and the next one on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one stream could use.

    Attributes:
        window: its window now.
        ceiling: the most that it asked for and may have.
        weight: its share beside the others.
        peak: the most frames that it had in flight since its last claim.
    """

    window: int
    ceiling: int
    weight: float
    peak: int

    @property
    def need(self) -> int:
        """The slots that it uses: all it can get if it filled its window, else as many as it filled."""
        return self.ceiling if self.peak >= self.window else min(self.ceiling, max(FLOOR, self.peak))

    @property
    def most(self) -> int:
        """The largest window that makes sense: one that was not filled is twice what was used, to let it grow."""
        return self.ceiling if self.peak >= self.window else min(self.ceiling, max(FLOOR, 2 * self.peak))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How the slots are shared out.

    Attributes:
        windows: of each stream, at least `FLOOR` or its ceiling if that is less.
        level: slots above its floor that a stream gets for each unit of weight, if it can use them.
        spare: slots that nobody can use.
    """

    windows: list[int]
    level: float
    spare: int


def share_credits(budget: int, claims: Sequence[Claim]) -> Shares:
    """Share out `budget` slots, max-min fair by weight: nobody is given more than it uses at the expense of another.

    As long as the streams use no more than the slots, a frame inside its window finds a slot free, and what a stream
    waits for is its fair turn on a device and nothing before it. When streams that were quiet wake up, or the floors
    are more than the slots, frames wait for a slot, first come, first served, until the next adjustment.

    Args:
        budget: slots.
        claims: what each stream could use.
    """
    floors = [min(FLOOR, claim.ceiling) for claim in claims]
    wishes = [claim.need - floor for claim, floor in zip(claims, floors, strict=True)]
    room = max(0, budget - sum(floors))
    level = _water_level(room, wishes, [claim.weight for claim in claims])
    exact = [min(wish, level * claim.weight) for wish, claim in zip(wishes, claims, strict=True)]
    given = [int(part) for part in exact]
    # What rounding down left over goes to those that it cost most.
    by_loss = sorted(range(len(claims)), key=lambda index: given[index] - exact[index])
    for index in by_loss[: max(0, room - sum(given))]:
        given[index] += given[index] < wishes[index]
    windows = [
        claim.most if floor + part == claim.need else floor + part
        for claim, floor, part in zip(claims, floors, given, strict=True)
    ]
    return Shares(windows=windows, level=level, spare=max(0, room - sum(given)))


def share_of_newcomer(shares: Shares, claim: Claim) -> tuple[int, Shares]:
    """Give a stream that opens what it would get beside the others, as far as `shares` tells without asking them again.

    Returns:
        Its window, and what there is for the next one.
    """
    floor = min(FLOOR, claim.ceiling)
    given = min(claim.ceiling - floor, max(int(shares.level * claim.weight), shares.spare - floor, 0))
    return floor + given, replace(shares, spare=max(0, shares.spare - floor - given))


def _water_level(budget: float, wishes: Sequence[int], weights: Sequence[float]) -> float:
    """Find the level up to which every stream's wish, seen as a vessel as wide as its weight, can be filled."""
    left = sum(weights)
    level = 0.0
    for height, weight in sorted((wish / weight, weight) for wish, weight in zip(wishes, weights, strict=True)):
        if (height - level) * left > budget:
            return level + budget / left
        budget -= (height - level) * left
        level = height
        left -= weight
    return level


def is_news(window: int, announced: int) -> bool:
    """Tell whether a change of the window is worth a message: one of an eighth or more."""
    return abs(window - announced) * 8 >= max(announced, 8)
