"""Identical images: computed once while one is on its way, and kept for a while if that is wanted."""

import asyncio
import contextlib
from collections.abc import MutableMapping
from dataclasses import dataclass

from nasfeat_server.engine.interface import Outputs
from nasfeat_server.errors import NasfeatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What makes two images the same request.

    Attributes:
        content: the digest of the image's bytes and of the model that reads them, 128 bits or more.
        outputs: what is computed of it.
    """

    content: bytes
    outputs: Outputs


Settled = bytes | NasfeatError | None
"""How a flight ended: with results, with an error that the same image would meet again, or without an answer."""


class Flight:
    """One image on its way, and those that wait for the same.

    Attributes:
        weight: the share of the stream that leads.
    """

    def __init__(self, weight: float) -> None:
        """Start with nobody waiting."""
        self.weight = weight
        self._outcome: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()

    async def result(self) -> Settled:
        """Wait until the leader has settled it, which may have been before; None if it left without an answer."""
        # One who is cancelled leaves the others waiting.
        return await asyncio.shield(self._outcome)

    def settle(self, outcome: Settled) -> None:
        """Give everyone who waits, and who will ask, the outcome."""
        self._outcome.set_result(outcome)


class Sharing:
    """Finds images that are computed already, or just now.

    A follower keeps its image until the leader is done, since the leader may leave without an answer; how much all
    of them keep together is bounded.

    Args:
        cache: recent results, bounded by itself; None keeps none.
        max_following_bytes: bytes of all images that wait for the same image; further ones go their own way. 0 lets
            nobody wait.
    """

    def __init__(self, *, cache: MutableMapping[Key, bytes] | None, max_following_bytes: int) -> None:
        self._cache = cache
        self._max_following_bytes = max_following_bytes
        self._following_bytes = 0
        self._flights: dict[Key, Flight] = {}

    @property
    def enabled(self) -> bool:
        """Whether any image can be found, so that its digest is worth its cost."""
        return self._cache is not None or self._max_following_bytes > 0

    def find(self, key: Key) -> bytes | None:
        """Look for a recent result."""
        return None if self._cache is None else self._cache.get(key)

    def follow(self, key: Key, weight: float, nbytes: int) -> Flight | None:
        """Find the same image on its way, if a frame of `weight` and `nbytes` may wait for it.

        It may not if the leader's stream has the smaller share: it would wait for its turn. `unfollow` gives the bytes
        back.
        """
        flight = self._flights.get(key)
        if flight is None or flight.weight < weight or self._following_bytes + nbytes > self._max_following_bytes:
            return None
        self._following_bytes += nbytes
        return flight

    def unfollow(self, nbytes: int) -> None:
        """Note that an image that waited has been let go."""
        self._following_bytes -= nbytes

    def lead(self, key: Key, weight: float) -> Flight:
        """Let others wait for an image that is on its way from now on; `settle` it in any case."""
        flight = Flight(weight)
        if key not in self._flights or self._flights[key].weight < weight:
            self._flights[key] = flight
        return flight

    def settle(self, key: Key, flight: Flight, outcome: Settled) -> None:
        """End a flight: keep its results, and tell those who wait."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        if self._cache is not None and isinstance(outcome, bytes):
            # What is larger than the whole cache is not kept.
            with contextlib.suppress(ValueError):
                self._cache[key] = outcome
        flight.settle(outcome)
