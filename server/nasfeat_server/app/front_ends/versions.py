"""The versions of the model in a front end's process: it serves what the main process arranges."""

import asyncio
import gc
import pickle
import socket
from collections.abc import Iterable

from nasfeat_server.app.front_ends.messages import Offer, ToldState
from nasfeat_server.app.serving import Common, served
from nasfeat_server.engine.arena import Arena
from nasfeat_server.rpc.catalog import Catalog, Served
from nasfeat_server.rpc.control import ModelState, ServerState
from nasfeat_server.scheduling.remote.link import Handler, Link
from nasfeat_server.scheduling.remote.stand_ins import RemoteDispatcher, RemoteSlots, RemoteWindows
from nasfeat_server.telemetry.events import ModelLabel
from nasfeat_server.telemetry.version_counts import VersionCounter, VersionCounts


class Versions:
    """All that there are.

    Args:
        using: what they use together.
        catalog: where calls find them.
        link: to the main process.
        sockets: where the file descriptors of arenas come.
        shows_streams: whether there is somebody to show streams to.

    Attributes:
        handlers: for messages of the main process.
    """

    def __init__(
        self, *, using: Common, catalog: Catalog, link: Link, sockets: socket.socket, shows_streams: bool
    ) -> None:
        self.handlers: dict[str, Handler] = {"offer": self._offered, "arrange": self._arrange, "state": self._set_state}
        self._using = using
        self._catalog = catalog
        self._link = link
        self._sockets = sockets
        self._shows_streams = shows_streams
        self._known: dict[int, _Version] = {}
        self._arranged: frozenset[int] = frozenset()
        self._told = ToldState(models=(), loading="", ready=False)

    def state(self) -> ServerState:
        """Say what the whole server serves, as it was a moment ago."""
        models = [
            ModelState(
                label=model.label,
                served=self._known[model.number].served,
                share=model.share,
                warm_devices=model.warm_devices,
            )
            for model in self._told.models
            # One that is retiring may have no call left here.
            if model.number in self._known
        ]
        return ServerState(models=tuple(models), loading=self._told.loading, ready=self._told.ready)

    def report(self) -> None:
        """Tell of each what it does, and leave those that are not arranged any more once they have no calls."""
        for number, version in tuple(self._known.items()):
            version.report(shows_streams=self._shows_streams)
            if number not in self._arranged and not version.served.calls.count:
                version.leave()
                del self._known[number]
                # Its parts know each other: without this its arena would stay until Python looks for such circles.
                asyncio.get_running_loop().call_soon(gc.collect)

    def _offered(self, number: int, offer: bytes) -> None:
        # It has been sent before the message.
        _, (fd,), _, _ = socket.recv_fds(self._sockets, 1, 1)
        # From the same program, over a socket that nobody else has.
        told: Offer = pickle.loads(offer)  # noqa: S301
        self._known[number] = _Version(number=number, offer=told, fd=fd, link=self._link, using=self._using)

    def _arrange(self, turn: int, places: Iterable[tuple[str, int]], share: float) -> None:
        self._catalog.arrange({ModelLabel(label): self._known[number].served for label, number in places}, share)
        self._arranged = frozenset(number for _, number in places)
        self._link.send("arranged", turn)

    def _set_state(self, told: bytes) -> None:
        # From the same program, over a socket that nobody else has.
        self._told = pickle.loads(told)  # noqa: S301


class _Version:
    """One of them, with the stand-ins for its part of the scheduler.

    Attributes:
        served: what calls get.
    """

    def __init__(self, *, number: int, offer: Offer, fd: int, link: Link, using: Common) -> None:
        arena = Arena(offer.layout, fd)
        # What is mapped stays so; no process inherits it from here.
        arena.close()
        handlers: dict[str, Handler] = {"end_streams": self._end_streams, "counts": self._set_counts}
        send = self._send = link.open(number, handlers)
        slots = RemoteSlots(send, arena.layout.slots)
        dispatcher = RemoteDispatcher(send, slots=slots, collect=arena.take_results)
        self._windows = RemoteWindows(send)
        for one in (slots, dispatcher, self._windows):
            handlers.update(one.handlers)
        self._number = number
        self._link = link
        counter = VersionCounter(counts=VersionCounts(), observer=using.observer)
        self._counter = counter if offer.config.facades else None
        self.served: Served = served(
            offer.config,
            offer.description,
            using,
            images=arena.images,
            slots=slots,
            dispatcher=dispatcher,
            windows=self._windows,
            observer=self._counter or using.observer,
            # Of the whole server, as the main process tells.
            counts=VersionCounts() if self._counter else None,
        )

    def report(self, *, shows_streams: bool) -> None:
        """Tell the main process what calls there are, and what has been counted."""
        self._windows.report()
        calls = self.served.calls
        live = pickle.dumps([(one.live(), one.rank) for one in calls.streams]) if shows_streams else None
        counted = self._counter.take() if self._counter else None
        self._send("used", calls.count, live, pickle.dumps(counted) if counted else None)

    def leave(self) -> None:
        """Tell the main process that nothing of it is here any more; no call is under way."""
        self._send("left")
        self._link.shut(self._number)

    def _end_streams(self, why: bytes) -> None:
        # From the same program, over a socket that nobody else has.
        self.served.calls.end_streams(pickle.loads(why))  # noqa: S301

    def _set_counts(self, counts: bytes) -> None:
        if self.served.counts:
            # From the same program, over a socket that nobody else has.
            self.served.counts.become(pickle.loads(counts))  # noqa: S301
