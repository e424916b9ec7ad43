"""The versions of the model that are served, and which of them a call gets."""

import asyncio
import contextlib
import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.engine.interface import ModelDescription
from nasfeat_server.errors import ModelNotFoundError, NasfeatError
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.live import OpenStream
from nasfeat_server.scheduling.interface import Windows
from nasfeat_server.scheduling.traffic import Split
from nasfeat_server.telemetry.events import ModelLabel
from nasfeat_server.telemetry.version_counts import VersionCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One version of the model with all that is its own: replicas behind `path`, windows, and its calls.

    Attributes:
        path: the way of its images.
        description: what its replicas have loaded.
        model: the same for the wire.
        windows: shares out what its streams may have in flight.
        calls: those that are under way.
        counts: what it has done, if anybody asks for that; None if nobody does.
    """

    path: FramePath
    description: ModelDescription
    model: feature_service_pb2.Model
    windows: Windows
    calls: "Calls"
    counts: VersionCounts | None = None

    @property
    def label(self) -> ModelLabel:
        """What it is to the server now."""
        return self.path.standing.label

    @property
    def version(self) -> str:
        """The operator's name for its weights."""
        return self.model.identity.version


class Elsewhere(Protocol):
    """Calls of a version in another process."""

    @property
    def count(self) -> int:
        """How many there are, as far as is known."""
        ...

    @property
    def stream_count(self) -> int:
        """How many of them are streams, as far as is known."""
        ...

    @property
    def streams(self) -> Collection[OpenStream]:
        """The streams as that process has told of them, if there is somebody to show them to."""
        ...

    def end_streams(self, why: NasfeatError) -> None:
        """Do as `Calls.end_streams` does."""
        ...


class Calls:
    """The calls that one version of the model has under way."""

    def __init__(self) -> None:
        """Start with none."""
        self._streams: set[OpenStream] = set()
        self._count = 0
        self._elsewhere: set[Elsewhere] = set()
        self._none = asyncio.Event()
        self._none.set()

    @property
    def count(self) -> int:
        """Calls under way, streams among them."""
        return self._count + sum(other.count for other in tuple(self._elsewhere))

    @property
    def stream_count(self) -> int:
        """How many of them are streams."""
        return len(self._streams) + sum(other.stream_count for other in tuple(self._elsewhere))

    @property
    def streams(self) -> list[OpenStream]:
        """The streams, to be shown; from any thread."""
        # Copied at once: the event loop changes them.
        return [*self._streams.copy(), *itertools.chain(*(other.streams for other in tuple(self._elsewhere)))]

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Count a call for as long as the context lasts."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            self._look()

    @contextlib.contextmanager
    def streaming(self, stream: OpenStream) -> Iterator[None]:
        """Count a call that is a stream for as long as the context lasts."""
        self._streams.add(stream)
        try:
            with self.under_way():
                yield
        finally:
            self._streams.remove(stream)

    def join(self, other: Elsewhere) -> None:
        """Count the calls of another process; it may have some until it leaves, whatever it says."""
        self._elsewhere.add(other)
        self._none.clear()

    def leave(self, other: Elsewhere) -> None:
        """Know that another process has none, and will have none."""
        self._elsewhere.discard(other)
        self._look()

    def end_streams(self, why: NasfeatError) -> None:
        """Answer what the streams have in flight, and then end them with `why`."""
        for stream in self._streams:
            stream.stop_reading(why)
        for other in self._elsewhere:
            other.end_streams(why)

    async def wait_none(self) -> None:
        """Return when no call is under way."""
        await self._none.wait()

    def _look(self) -> None:
        if not (self._count or self._elsewhere):
            self._none.set()


class Catalog:
    """Finds the version of the model for each call: the one that it names, or else by their shares."""

    def __init__(self, alias: str | None = None) -> None:
        """Start empty; no call may come before there is a stable version.

        Args:
            alias: a name that the model has beside its own.
        """
        self._alias = alias
        self._served: dict[ModelLabel, Served] = {}
        self._split = Split(0.0)

    @property
    def served(self) -> tuple[Served, ...]:
        """Every version, the stable one first."""
        return tuple(self._served[label] for label in ModelLabel if label in self._served)

    @property
    def names(self) -> tuple[str, ...]:
        """What the model is called: by itself, and by the operator."""
        own = (served.model.identity.name for served in self.served)
        return tuple(dict.fromkeys((*own, *((self._alias,) if self._alias else ()))))

    @property
    def share(self) -> float:
        """The canary's share of the new calls."""
        return self._split.share

    def get(self, label: ModelLabel) -> Served | None:
        """Give the version under `label`, if there is one."""
        return self._served.get(label)

    def arrange(self, places: Mapping[ModelLabel, Served], share: float = 0.0) -> None:
        """Say at once what is served under which label from now on, and the canary's share of new calls.

        Args:
            places: the versions; a stable one is among them.
            share: nothing if there is no canary.

        Raises:
            ValueError: the share is not from 0 to 1.
        """
        self._split = Split(share if ModelLabel.CANARY in places else 0.0)
        self._served = dict(places)
        for label, served in places.items():
            served.path.standing.label = label

    def choose(self, wanted: str = "") -> Served:
        """Give the version that a new call goes to.

        Args:
            wanted: a label, a version's name or one of the model's; "" leaves the choice to the shares.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        canary = self._served.get(ModelLabel.CANARY)
        return canary if canary and not wanted and self._split.second() else self.find(wanted)

    def find(self, wanted: str) -> Served:
        """Give the version that is called so; "" means the stable one.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        if not wanted:
            return self._served[ModelLabel.STABLE]
        for served in self.served:
            if wanted in (served.label, served.version, served.model.identity.name):
                return served
        there = "; ".join(
            f"{served.model.identity.name!r} in version {served.version!r} as {served.label}" for served in self.served
        )
        if wanted == self._alias:
            return self._served[ModelLabel.STABLE]
        raise ModelNotFoundError(f"there is no model {wanted!r} here, only {there}")
