"""The life of a front end's process: it takes calls, decodes into the arena, and asks the main process for the rest."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import pickle
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nasfeat_server.app.edge import FrontEnd
from nasfeat_server.app.front_ends.forwarding import Forwarder
from nasfeat_server.app.front_ends.messages import Start
from nasfeat_server.app.front_ends.versions import Versions
from nasfeat_server.app.guard import Guard
from nasfeat_server.app.replicas import Site
from nasfeat_server.app.serving import Common, common
from nasfeat_server.app.tracing import FLUSH_S, tracing_of
from nasfeat_server.app.waiting import unless
from nasfeat_server.config import Endpoint, ServerConfig, StatusPage
from nasfeat_server.rpc import steering
from nasfeat_server.rpc.catalog import Catalog
from nasfeat_server.scheduling.remote.link import Handler, Link
from nasfeat_server.security.remote import RemoteAccounts
from nasfeat_server.telemetry import logging as log
from nasfeat_server.telemetry.fanout import Fanout, SelectiveObserver
from nasfeat_server.telemetry.load import Load

if TYPE_CHECKING:
    from nasfeat_server.telemetry.tracing import Tracing

_log = logging.getLogger(__name__)

REPORT_S = 0.25
"""How often each of the two processes tells the other how it is."""


class FrontEndProcess:
    """One front end of several.

    Args:
        main: the socket to the main process.
        sockets: where it gets copies of those that listen.
    """

    def __init__(self, main: socket.socket, sockets: socket.socket) -> None:
        self._socket = main
        self._sockets = sockets
        self._forwarder = Forwarder()
        self._listen = asyncio.Event()
        self._stop = asyncio.Event()
        self._started: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        self._edge: FrontEnd | None = None
        self._tracing: Tracing | None = None
        self._load: Load | None = None
        self._handlers: dict[str, Handler] = {
            "start": self._begin,
            "listen": self._listen.set,
            "serving": self._set_serving,
            "load": self._set_load,
            "log_level": log.set_level,
            "stop": self._stop.set,
        }
        self._link = Link(self._handlers, self._lost)
        self._over = asyncio.Event()
        self._done = False
        self._serves = False

    async def run(self) -> None:
        """Serve until told to stop, then finish what is in flight."""
        await asyncio.get_running_loop().create_connection(lambda: self._link, sock=self._socket)
        start = await self._started
        log.configure(start.log_level, start.log_format)
        config = start.config
        async with contextlib.AsyncExitStack() as stack:
            observers: list[SelectiveObserver] = [self._forwarder]
            if tracing := tracing_of(config.tracing):
                await stack.enter_async_context(tracing.exporting(min(FLUSH_S, config.grace_s)))
                observers.append(tracing)
            self._tracing = tracing
            using = stack.enter_context(
                common(
                    # Each keeps results of its own: together as many as one process would.
                    cache_bytes=config.cache_bytes // config.front_ends,
                    observer=Fanout(*observers),
                    site=Site(config=config),
                    on_change=lambda: None,
                    share=config.front_ends,
                )
            )
            catalog = Catalog(config.model_alias)
            versions = Versions(
                using=using,
                catalog=catalog,
                link=self._link,
                sockets=self._sockets,
                shows_streams=config.status_page.at(config.metrics) is not StatusPage.OFF,
            )
            self._handlers.update(versions.handlers)
            self._link.send("begun")
            await self._serve(config, catalog, versions, using)
        self._done = True
        self._link.close()
        # What was told last has been sent then.
        await self._over.wait()

    async def _serve(self, config: ServerConfig, catalog: Catalog, versions: Versions, using: Common) -> None:
        accounts = RemoteAccounts(self._link.send)
        self._handlers.update(accounts.handlers)
        guard = Guard(config, using.observer, accounts.open)
        guard.load()
        edge = self._edge = FrontEnd(
            config,
            guard,
            catalog,
            using.observer,
            load=self._last_load,
            state=versions.state,
            tracer=self._tracing,
            shares_port=True,
        )
        edge.set_serving(self._serves)
        if await unless(self._stop, self._listen.wait()) is None:
            return
        edge.bind()
        self._share_sockets(config.listen.port)
        await edge.start()
        self._link.send("listening")
        counted = (versions.report, accounts.report, functools.partial(self._tell_refused, guard), self._tell_traces)
        report = _Report(self._link, self._forwarder, using, counted, steering.Connections(config.listen.port))
        background = [asyncio.create_task(part) for part in (guard.run(), report.run())]
        if await unless(self._stop, edge.closed()):
            raise RuntimeError(f"gRPC has closed {config.listen} by itself")
        edge.drain()
        await edge.stop(config.grace_s)
        for task in background:
            task.cancel()
        report.last()

    def _lost(self) -> None:
        if not self._done:
            # Without the main process there is no scheduler, and nobody who knows of this one.
            os._exit(1)
        self._over.set()

    def _begin(self, start: bytes) -> None:
        # From the same program, over a socket that nobody else has.
        self._started.set_result(pickle.loads(start))  # noqa: S301

    def _tell_refused(self, guard: Guard) -> None:
        if refused := guard.take_failures():
            self._link.send("refused", tuple(refused.items()))

    def _tell_traces(self) -> None:
        if self._tracing:
            self._link.send("traced", *self._tracing.counts())

    def _share_sockets(self, port: int) -> None:
        found = steering.listening(port)
        socket.send_fds(self._sockets, [b"1"], [one.fileno() for one in found])
        for one in found:
            one.close()

    def _set_serving(self, serving: bool) -> None:
        self._serves = serving
        if self._edge:
            self._edge.set_serving(serving)

    def _set_load(self, load: bytes) -> None:
        # From the same program, over a socket that nobody else has.
        self._load = pickle.loads(load)  # noqa: S301

    def _last_load(self) -> Load:
        if not self._load:
            raise AssertionError("the main process tells the load before it lets this one listen")
        return self._load


class _Report:
    """Tells the main process four times a second what has been counted, and so that this one lives."""

    def __init__(
        self,
        link: Link,
        forwarder: Forwarder,
        using: Common,
        others: Sequence[Callable[[], None]],
        connections: steering.Connections,
    ) -> None:
        self._link = link
        self._forwarder = forwarder
        self._others = others
        self._cache = using.cache
        self._connections = connections

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            cached = self._cache.currsize if self._cache else 0
            self._link.send("alive", self._connections.count(), cached, time.process_time())
            self.last()
            await asyncio.sleep(REPORT_S)

    def last(self) -> None:
        """Tell what has not been told."""
        if (told := self._forwarder.take()) is not None:
            self._link.send("told", told)
        for tell in self._others:
            tell()


async def main(link_fd: int, sockets_fd: int) -> None:
    """Run the front end whose main process is behind these sockets."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Who stops every process of a service at once means the main one, which tells this one to.
        loop.add_signal_handler(number, lambda: None)
    with socket.socket(fileno=link_fd) as ours, socket.socket(fileno=sockets_fd) as sockets:
        await FrontEndProcess(ours, sockets).run()


def child_config(config: ServerConfig, listen: Endpoint) -> ServerConfig:
    """Give what a front end is told: where all listen, and its part of what is traced at most.

    It is the user already that the server has become.
    """
    return dataclasses.replace(
        config,
        listen=listen,
        security=dataclasses.replace(config.security, user=None),
        tracing=dataclasses.replace(config.tracing, limit=config.tracing.limit / config.front_ends),
    )
