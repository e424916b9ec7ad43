"""What one front end has of one version of the model, as the main process knows it."""

import pickle
from collections.abc import Callable

from nasfeat_server.app.front_ends.messages import Offer
from nasfeat_server.app.generation import Generation
from nasfeat_server.errors import NasfeatError
from nasfeat_server.rpc.catalog import Calls
from nasfeat_server.rpc.live import LiveStream, ToldStream
from nasfeat_server.scheduling.remote.counterpart import Counterpart
from nasfeat_server.scheduling.remote.link import Handler, Link
from nasfeat_server.telemetry.version_counts import VersionCounts


class Part:
    """The calls of a version in one front end, as far as they have been told of; an `Elsewhere`.

    Args:
        number: the version's, for the front ends.
        generation: the version.
        link: to the front end.
        max_streams: that may be open, over all front ends and versions.
        open_streams: counts those.
        on_load: called when the front end has one stream more or less.
        on_left: called when the front end has left the version, to `close` this.

    Attributes:
        generation: the version.
        count: calls under way, as it said last.
        streams: those of them that are streams, if there is somebody to show them to.
    """

    def __init__(
        self,
        *,
        number: int,
        generation: Generation,
        link: Link,
        max_streams: int,
        open_streams: Callable[[], int],
        on_load: Callable[[], None],
        on_left: Callable[[], None],
    ) -> None:
        self.generation = generation
        self.count = 0
        self.streams: tuple[ToldStream, ...] = ()
        self._number = number
        self._link = link
        self._served = generation.loaded.result()
        core = self._core = generation.loaded_core
        handlers: dict[str, Handler] = {"used": self._used, "left": on_left}
        self._send = link.open(number, handlers)
        self._counterpart = Counterpart(
            slots=core.slots,
            dispatcher=core.dispatcher,
            windows=core.windows,
            max_streams=max_streams,
            open_streams=open_streams,
            send=self._send,
            on_load=on_load,
        )
        handlers.update(self._counterpart.handlers)
        self._calls: Calls = self._served.calls
        self._calls.join(self)

    @property
    def stream_count(self) -> int:
        """Calls under way that are streams."""
        return self._counterpart.streams

    @property
    def offer(self) -> tuple[Offer, int]:
        """What the front end is told of the version, and the file descriptor of its arena."""
        arena = self._core.arena
        offer = Offer(config=self.generation.config, description=self._served.description, layout=arena.layout)
        return offer, arena.fd

    def end_streams(self, why: NasfeatError) -> None:
        """Have the front end answer what the version's streams have in flight, and then end them with `why`."""
        self._send("end_streams", pickle.dumps(why))

    def tell_state(self) -> None:
        """Tell the front end how the scheduler is, and what the version has done."""
        self._counterpart.tell_state()
        if self._served.counts:
            self._send("counts", pickle.dumps(self._served.counts))

    def close(self) -> None:
        """Take everything back: the front end has left the version, or its process is gone."""
        self._link.shut(self._number)
        self._counterpart.close()
        self._calls.leave(self)

    def _used(self, calls: int, streams: bytes | None, counts: bytes | None) -> None:
        self.count = calls
        # From the same program, over a socket that nobody else has.
        if streams is not None:
            told: list[tuple[LiveStream, tuple[int, float]]] = pickle.loads(streams)  # noqa: S301
            self.streams = tuple(ToldStream(told=live, rank=rank) for live, rank in told)
        if counts is not None and self._served.counts:
            more: VersionCounts = pickle.loads(counts)  # noqa: S301
            self._served.counts.merge(more)
