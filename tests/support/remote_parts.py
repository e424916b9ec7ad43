"""The scheduler's stand-ins and their counterpart, on both ends of a socket of one process."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from nasfeat_server.engine.arena import Arena
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.remote.counterpart import Counterpart
from nasfeat_server.scheduling.remote.link import Handler, Link
from nasfeat_server.scheduling.remote.stand_ins import RemoteDispatcher, RemoteSlots, RemoteWindows
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.windows import WindowKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The scheduler itself."""

    slots: SlotPool
    dispatcher: Dispatcher
    windows: WindowKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIns:
    """What a front end has of it.

    Attributes:
        counterpart: what they speak to.
        far: the front end's end of the link.
        near: the other one.
        lost: set when the counterpart's end has heard all.
    """

    slots: RemoteSlots
    dispatcher: RemoteDispatcher
    windows: RemoteWindows
    counterpart: Counterpart
    far: Link
    near: Link
    lost: asyncio.Event

    async def close(self) -> None:
        """End as a front end does that dies: what it had comes back."""
        self.far.close()
        await self.lost.wait()
        self.counterpart.close()
        # The transports close in the next turn of the loop.
        await asyncio.sleep(0)


async def linked(
    near_hears: Mapping[str, Handler], far_hears: Mapping[str, Handler]
) -> tuple[Link, Link, asyncio.Event]:
    """Give both ends of a link, and what is set when the near one has heard all of a far one that is gone."""
    ours, theirs = socket.socketpair()
    lost = asyncio.Event()
    near, far = Link(near_hears, lost.set), Link(far_hears)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: near, sock=ours)
    await loop.create_connection(lambda: far, sock=theirs)
    return near, far, lost


async def stand_ins(parts: Parts, arena: Arena, *, max_streams: int = 100) -> StandIns:
    """Put a link between `parts` and what stands for them."""
    handlers: dict[str, Handler] = {}
    heard: dict[str, Handler] = {}
    near, far, lost = await linked(handlers, heard)
    counterpart = Counterpart(
        slots=parts.slots,
        dispatcher=parts.dispatcher,
        windows=parts.windows,
        max_streams=max_streams,
        open_streams=lambda: parts.windows.count,
        send=near.send,
    )
    handlers.update(counterpart.handlers)
    slots = RemoteSlots(far.send, arena.layout.slots)
    dispatcher = RemoteDispatcher(far.send, slots=slots, collect=arena.take_results)
    windows = RemoteWindows(far.send)
    for one in (slots, dispatcher, windows):
        heard.update(one.handlers)
    return StandIns(
        slots=slots,
        dispatcher=dispatcher,
        windows=windows,
        counterpart=counterpart,
        far=far,
        near=near,
        lost=lost,
    )
