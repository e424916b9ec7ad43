"""What a front end has in the place of the scheduler: the same interface, and messages to where that is."""

import asyncio
import itertools
import pickle
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from nasfeat_server.engine.interface import Outputs
from nasfeat_server.errors import OverloadedError, ReplicaLostError
from nasfeat_server.scheduling.remote.link import Handler
from nasfeat_server.scheduling.windows import Window
from nasfeat_server.scheduling.work import Execution, Work

_Send = Callable[..., None]


class RemoteSlots:
    """Stands for the `SlotPool`: each place in its line is one there, so that first come is first served over all.

    Args:
        send: takes a message to the scheduler's process.
        capacity: slots of the arena.
    """

    def __init__(self, send: _Send, capacity: int) -> None:
        self.capacity = capacity
        self.in_use = 0
        self.handlers: dict[str, Handler] = {"granted": self._granted, "full": self._full}
        self._send = send
        self._numbers = itertools.count()
        self._waiters: dict[int, asyncio.Future[int]] = {}

    @property
    def waiting(self) -> int:
        """Callers of this front end in the line."""
        return len(self._waiters)

    async def acquire(self, *, max_waiting: int | None = None, retry_after_s: Callable[[], float] = lambda: 1.0) -> int:
        """Wait for a slot; see `SlotPool.acquire`. The scheduler itself says when to come again."""
        del retry_after_s
        number = next(self._numbers)
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiters[number] = waiter
        self._send("acquire", number, max_waiting)
        try:
            return await waiter
        except asyncio.CancelledError:
            if self._waiters.pop(number, None):
                self._send("leave_line", number)
            elif waiter.done() and not waiter.cancelled() and not waiter.exception():
                # It came in the turn of the loop in which nobody wanted it any more.
                self.release(waiter.result())
            raise

    def release(self, slot: int) -> None:
        """Give `slot` back."""
        self.in_use -= 1
        self._send("release", slot)

    def submitted(self) -> None:
        """Note that a slot belongs to the scheduler now."""
        self.in_use -= 1

    def returned(self) -> None:
        """Note that a slot with outputs has come back from there."""
        self.in_use += 1

    def _granted(self, number: int, slot: int) -> None:
        self.in_use += 1
        waiter = self._waiters.pop(number, None)
        if waiter and not waiter.done():
            waiter.set_result(slot)
        else:
            # The place was given up while the slot was on its way.
            self.release(slot)

    def _full(self, number: int, message: str, retry_after_s: float) -> None:
        waiter = self._waiters.pop(number, None)
        if waiter and not waiter.done():
            waiter.set_exception(OverloadedError(message, retry_after_s=retry_after_s))


class RemoteDispatcher:
    """Stands for the `Dispatcher`.

    It knows a moment late which images a replica has been given. A deadline that cannot be met is found out when the
    image is submitted, by the scheduler itself.

    Args:
        send: takes a message to the scheduler's process.
        slots: the other stand-in.
        collect: copies so many bytes of outputs of a slot out of the arena.
    """

    def __init__(self, send: _Send, *, slots: RemoteSlots, collect: Callable[[int, int], bytes]) -> None:
        self.depth = 0
        self.handlers: dict[str, Handler] = {
            "begun": self._begun,
            "done": self._done,
            "failed": self._failed,
            "state": self._state,
        }
        self._send = send
        self._slots = slots
        self._collect = collect
        self._numbers = itertools.count()
        self._lanes = itertools.count()
        self._works: dict[int, Work] = {}
        self._names: dict[Work, int] = {}
        # Of each stream those that no replica has had, in their order.
        self._waiting: dict[int, deque[Work]] = {}
        self._watched: set[int] = set()
        self._drain_s = 0.0
        self._outage = ""

    def open_lane(self, weight: float, *, live: bool = False) -> int:
        """Add a stream with its share of the devices; returns its number for `submit`."""
        lane = next(self._lanes)
        self._waiting[lane] = deque()
        self._send("open_lane", lane, weight, live)
        return lane

    def close_lane(self, lane: int) -> None:
        """Forget a stream whose images are all settled or abandoned."""
        del self._waiting[lane]
        self._watched.discard(lane)
        self._send("close_lane", lane)

    def waiting_in(self, lane: int) -> int:
        """Count the images of a stream that no replica has had, as far as is known; who never asks pays nothing."""
        if lane not in self._watched:
            self._watched.add(lane)
            self._send("watch", lane)
        return len(self._waiting[lane])

    def submit(self, lane: int, slot: int, outputs: Outputs, result_bytes: int, deadline: float | None = None) -> Work:
        """Queue the image in `slot`, which belongs to the scheduler from now on; see `Dispatcher.submit`."""
        done: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()
        work = Work(lane=lane, slot=slot, outputs=outputs, result_bytes=result_bytes, deadline=deadline, done=done)
        work.queued_at = time.monotonic()
        number = self._names[work] = next(self._numbers)
        self._works[number] = work
        self._waiting[lane].append(work)
        self._slots.submitted()
        self._send("submit", number, lane, slot, outputs, result_bytes, deadline)
        return work

    def check_up(self) -> None:
        """Do nothing, unless the scheduler has given up waiting for a replica.

        Raises:
            ReplicaLostError: it has.
        """
        if self._outage:
            raise ReplicaLostError(self._outage)

    def check_deadline(self, lane: int, deadline: float) -> None:
        """Do nothing: the scheduler looks when the image is submitted."""

    def drain_s(self) -> float:
        """Estimate how long the images that wait keep the replicas busy, a moment ago."""
        return self._drain_s

    def supersede_oldest(self, lane: int) -> None:
        """Give up the stream's oldest image that no replica has had, unless it has been given to one meanwhile."""
        self._send("supersede", self._names[self._waiting[lane].popleft()])

    def abandon(self, work: Work) -> None:
        """Nobody waits for `work` any more."""
        if (number := self._names.pop(work, None)) is not None:
            del self._works[number]
            self._no_longer_waits(work)
            work.abandoned = True
            self._send("abandon", number)

    def _begun(self, number: int) -> None:
        if work := self._works.get(number):
            self._no_longer_waits(work)

    def _done(self, number: int, slot: int, queue_s: float, execute_s: float, device: str, batch_size: int) -> None:
        self._slots.returned()
        # None if it was abandoned while this was on its way.
        work = self._settled(number)
        results = self._collect(slot, work.result_bytes) if work else b""
        self._slots.release(slot)
        if work and not work.done.done():
            work.done.set_result(
                Execution(results=results, queue_s=queue_s, execute_s=execute_s, device=device, batch_size=batch_size)
            )

    def _failed(self, number: int, error: bytes) -> None:
        work = self._settled(number)
        if work and not work.done.done():
            # From the same program.
            work.done.set_exception(pickle.loads(error))  # noqa: S301

    def _settled(self, number: int) -> Work | None:
        work = self._works.pop(number, None)
        if work:
            del self._names[work]
            self._no_longer_waits(work)
        return work

    def _no_longer_waits(self, work: Work) -> None:
        waiting: Any = self._waiting.get(work.lane, ())
        if work in waiting:
            waiting.remove(work)

    def _state(self, depth: int, drain_s: float, outage: str) -> None:
        self.depth, self._drain_s, self._outage = depth, drain_s, outage


class RemoteWindows:
    """Stands for the `WindowKeeper`, which shares the slots out among the streams of all front ends.

    Args:
        send: takes a message to the scheduler's process.
    """

    def __init__(self, send: _Send) -> None:
        self.handlers: dict[str, Handler] = {
            "window": self._granted,
            "no_window": self._refused,
            "resize": self._resize,
        }
        self._send = send
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._open: dict[int, tuple[Window, Callable[[int], None]]] = {}
        self._names: dict[Window, int] = {}

    async def grant(
        self, *, ceiling: int, weight: float, announce: Callable[[int], None], adjustable: bool = True
    ) -> Window:
        """Grant a new stream what there is for it beside those of all front ends.

        Raises:
            OverloadedError: as many streams are open as may be.
        """
        number = next(self._numbers)
        granted = self._asked[number] = asyncio.get_running_loop().create_future()
        window = Window(ceiling=ceiling, weight=weight, adjustable=adjustable)
        self._open[number] = (window, announce)
        self._send("open_window", number, ceiling, weight, adjustable)
        try:
            window.size = await granted
        except BaseException as error:
            del self._open[number]
            self._asked.pop(number, None)
            if not isinstance(error, OverloadedError):
                self._send("close_window", number)
            raise
        self._names[window] = number
        return window

    def close(self, window: Window) -> None:
        """Forget a stream."""
        number = self._names.pop(window)
        del self._open[number]
        self._send("close_window", number)

    def report(self) -> None:
        """Tell the scheduler what the streams use."""
        if self._names:
            self._send("windows_used", tuple((number, *window.report()) for window, number in self._names.items()))

    def _granted(self, number: int, size: int) -> None:
        asked = self._asked.pop(number, None)
        if asked and not asked.done():
            asked.set_result(size)

    def _refused(self, number: int, message: str) -> None:
        asked = self._asked.pop(number, None)
        if asked and not asked.done():
            asked.set_exception(OverloadedError(message))

    def _resize(self, number: int, size: int) -> None:
        if number not in self._open:
            return
        window, announce = self._open[number]
        window.resize(size)
        announce(size)
