"""The versions of the model that one stream's requests go to: one, unless it names several."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from nasfeat_server.rpc import convert, tenancy
from nasfeat_server.rpc.catalog import Served
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.live import OpenStream
from nasfeat_server.scheduling.windows import Window


@dataclass(slots=True, kw_only=True)
class Side:
    """What a stream has of one version.

    Attributes:
        path: the way of its images.
        window: those that are between their arrival and their answer.
        lanes: one for each share that requests asked for.
    """

    served: Served
    path: FramePath
    window: Window
    lanes: dict[float, int] = field(default_factory=dict)


class Sides:
    """All of them.

    Args:
        stream: whose they are.
        choose: finds the version that a request names, which later requests that name the same get too.
        path_of: gives the way of the stream's images to the devices of a version.
        ceiling: the most images that a window may have.
    """

    def __init__(
        self,
        stream: OpenStream,
        *,
        choose: Callable[[str, str], Served],
        path_of: Callable[[FramePath], FramePath],
        ceiling: int,
    ) -> None:
        self._stream = stream
        self._choose = choose
        self._path_of = path_of
        self._ceiling = ceiling
        self._stack = contextlib.ExitStack()
        self._sides: dict[tuple[str, str], Side] = {}

    @property
    def all(self) -> list[Side]:
        """Each, by all names that it was asked for by."""
        return list(self._sides.values())

    def served(self, name: str, version: str) -> Served:
        """Find the version that is named so.

        Raises:
            NasfeatError: there is none.
        """
        side = self._sides.get((name, version))
        return side.served if side else self._choose(name, version)

    async def side(self, name: str, version: str, served: Served) -> Side:
        """Give what the stream has of `served`, which was found by this name and stays what it means.

        Raises:
            NasfeatError: there is no room for a stream.
        """
        asked = name, version
        if asked not in self._sides:
            known = (side for side in self._sides.values() if side.served is served)
            self._sides[asked] = next(known, None) or await self._open(served)
        return self._sides[asked]

    async def _open(self, served: Served) -> Side:
        weight = convert.unary_weight(tenancy.highest_priority())
        with contextlib.ExitStack() as opening:
            # Without a turn of the loop since it was chosen: the version is there for as long as it has calls.
            opening.enter_context(served.calls.streaming(self._stream))
            window = await served.windows.grant(ceiling=self._ceiling, weight=weight, announce=_nobody)
            opening.callback(served.windows.close, window)
            self._stack.enter_context(opening.pop_all())
        return Side(served=served, path=self._path_of(served.path), window=window)

    def lane(self, side: Side, weight: float) -> int:
        """Give the lane of images of that share."""
        if weight not in side.lanes:
            dispatcher = side.path.dispatcher
            side.lanes[weight] = dispatcher.open_lane(weight)
            self._stack.callback(dispatcher.close_lane, side.lanes[weight])
        return side.lanes[weight]

    def close(self) -> None:
        """Leave all; no image of the stream is under way any more."""
        self._stack.close()


def _nobody(_: int) -> None:
    """Windows are told to nobody: the protocol has no message for them."""
