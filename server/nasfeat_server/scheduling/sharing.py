"""Identical images: computed once while one is on its way, and kept for a while if that is wanted."""

import asyncio
import contextlib
from collections.abc import Hashable, MutableMapping
from dataclasses import dataclass

from nasfeat_server.engine.interface import Outputs
from nasfeat_server.errors import NasfeatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What makes two images the same request.

    Attributes:
        content: the image itself, or the digest of its bytes and of the model that reads them, 128 bits or more.
        outputs: what is computed of it.
        owner: whose it is: nobody learns from a result that somebody else has sent the same image.
    """

    content: Hashable
    outputs: Outputs
    owner: str = ""


Settled = bytes | NasfeatError | None
"""How a flight ended: with results, with an error that the same image would meet again, or without an answer."""


class Flight:
    """One image on its way, and those that wait for the same.

    Attributes:
        weight: the share of the stream that leads.
        nbytes: of its image, if that is kept.
    """

    def __init__(self, weight: float, nbytes: int) -> None:
        """Start with nobody waiting."""
        self.weight = weight
        self.nbytes = nbytes
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

    A leader's image is kept until it is done, to be compared to those that come; a follower's, since the leader may
    leave without an answer. How much all of them keep together is bounded.

    Args:
        cache: recent results, bounded by itself; None keeps none. With it, images are known by their digests.
        max_bytes: bytes of all images that are kept; further ones go their own way. 0 lets nobody wait.
    """

    def __init__(self, *, cache: MutableMapping[Key, bytes] | None, max_bytes: int) -> None:
        self._cache = cache
        self._max_bytes = max_bytes
        self._kept_bytes = 0
        self._flights: dict[Key, Flight] = {}

    @property
    def enabled(self) -> bool:
        """Whether any image can be found, so that its digest is worth its cost."""
        return self._cache is not None or self._max_bytes > 0

    @property
    def caches(self) -> bool:
        """Whether results are kept, for which the digest must be known."""
        return self._cache is not None

    def find(self, key: Key) -> bytes | None:
        """Look for a recent result."""
        return None if self._cache is None else self._cache.get(key)

    def follow(self, key: Key, weight: float, nbytes: int) -> Flight | None:
        """Find the same image on its way, if a frame of `weight` and `nbytes` may wait for it.

        It may not if the leader's stream has the smaller share: it would wait for its turn. `unfollow` gives the bytes
        back.
        """
        flight = self._flights.get(key)
        if flight is None or flight.weight < weight or self._kept_bytes + nbytes > self._max_bytes:
            return None
        self._kept_bytes += nbytes
        return flight

    def unfollow(self, nbytes: int) -> None:
        """Note that an image that waited has been let go."""
        self._kept_bytes -= nbytes

    def lead(self, key: Key, weight: float, nbytes: int) -> Flight | None:
        """Let others wait for an image of `nbytes` that is on its way from now on; `settle` it in any case.

        None if nobody can: there is no room to keep the image, and no cache that waits for its results.
        """
        has_room = self._kept_bytes + nbytes <= self._max_bytes
        if not has_room and self._cache is None:
            return None
        flight = Flight(weight, nbytes if has_room else 0)
        if has_room:
            self._kept_bytes += nbytes
            if key not in self._flights or self._flights[key].weight < weight:
                self._flights.pop(key, None)
                self._flights[key] = flight
        return flight

    def settle(self, key: Key, flight: Flight, outcome: Settled) -> None:
        """End a flight: keep its results, and tell those who wait."""
        self._kept_bytes -= flight.nbytes
        if self._flights.get(key) is flight:
            del self._flights[key]
        if self._cache is not None and isinstance(outcome, bytes):
            # What is larger than the whole cache is not kept.
            with contextlib.suppress(ValueError):
                self._cache[key] = outcome
        flight.settle(outcome)
