"""What the stand-ins of one front end speak to: the scheduler's own slots, queue and windows."""

import asyncio
import functools
import pickle
from collections.abc import Callable, Iterable

from nasfeat_server.engine.interface import Outputs
from nasfeat_server.errors import DeadlinePassedError, OverloadedError, ReplicaLostError
from nasfeat_server.scheduling.dispatcher import Dispatcher
from nasfeat_server.scheduling.remote.link import Handler
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.windows import Window, WindowKeeper
from nasfeat_server.scheduling.work import Execution, Work


class Counterpart:
    """Does for one front end what it asks for, and knows what it owns, so that all comes back if it dies.

    Args:
        slots: the arena's.
        dispatcher: the scheduler.
        windows: of all streams.
        max_streams: that may be open, over all front ends and versions of the model.
        open_streams: counts those.
        send: takes a message to the front end.
        on_load: called when the front end has one stream more or less, before it hears of that.
    """

    def __init__(
        self,
        *,
        slots: SlotPool,
        dispatcher: Dispatcher,
        windows: WindowKeeper,
        max_streams: int,
        open_streams: Callable[[], int],
        send: Callable[..., None],
        on_load: Callable[[], None] = lambda: None,
    ) -> None:
        self.handlers: dict[str, Handler] = {
            "acquire": self._acquire,
            "leave_line": self._leave_line,
            "release": self._release,
            "open_lane": self._open_lane,
            "close_lane": self._close_lane,
            "watch": self._watch,
            "submit": self._submit,
            "supersede": self._supersede,
            "abandon": self._abandon,
            "open_window": self._open_window,
            "close_window": self._close_window,
            "windows_used": self._windows_used,
        }
        self._slots = slots
        self._dispatcher = dispatcher
        self._keeper = windows
        self._max_streams = max_streams
        self._open_streams = open_streams
        self._send = send
        self._on_load = on_load
        # The slots that the front end may write to or read.
        self._held: set[int] = set()
        self._lines: dict[int, asyncio.Future[int]] = {}
        self._lanes: dict[int, int] = {}
        # The front end wants to know which of their images a replica has been given.
        self._watched: set[int] = set()
        self._works: dict[int, Work] = {}
        self._windows: dict[int, Window] = {}

    @property
    def streams(self) -> int:
        """Streams that the front end has open."""
        return len(self._windows)

    def close(self) -> None:
        """Take everything back, which is safe once the front end's process is gone."""
        for waiter in self._lines.values():
            self._slots.leave_line(waiter)
        for work in self._works.values():
            self._drop(work)
        for slot in self._held:
            self._slots.release(slot)
        for lane in self._lanes.values():
            self._dispatcher.close_lane(lane)
        for window in self._windows.values():
            self._keeper.close(window)
        for owned in (self._lines, self._works, self._held, self._lanes, self._windows):
            owned.clear()

    def tell_state(self) -> None:
        """Tell the front end how the scheduler is."""
        outage = ""
        try:
            self._dispatcher.check_up()
        except ReplicaLostError as error:
            outage = str(error)
        self._send("state", self._dispatcher.depth, self._dispatcher.drain_s(), outage)

    def _acquire(self, number: int, max_waiting: int | None) -> None:
        try:
            waiter = self._slots.line_up(max_waiting=max_waiting, retry_after_s=self._dispatcher.drain_s)
        except OverloadedError as error:
            self._send("full", number, str(error), error.retry_after_s)
            return
        self._lines[number] = waiter
        if waiter.done():
            self._grant(number, waiter)
        else:
            waiter.add_done_callback(functools.partial(self._grant, number))

    def _grant(self, number: int, waiter: asyncio.Future[int]) -> None:
        # Not there any more if the place has been given up, and with it the slot.
        if self._lines.pop(number, None):
            self._held.add(waiter.result())
            self._send("granted", number, waiter.result())

    def _leave_line(self, number: int) -> None:
        if waiter := self._lines.pop(number, None):
            self._slots.leave_line(waiter)

    def _release(self, slot: int) -> None:
        self._held.remove(slot)
        self._slots.release(slot)

    def _open_lane(self, lane: int, weight: float, live: bool) -> None:
        self._lanes[lane] = self._dispatcher.open_lane(weight, live=live)

    def _watch(self, lane: int) -> None:
        self._watched.add(lane)

    def _close_lane(self, lane: int) -> None:
        self._watched.discard(lane)
        self._dispatcher.close_lane(self._lanes.pop(lane))

    def _submit(
        self, number: int, lane: int, slot: int, outputs: Outputs, result_bytes: int, deadline: float | None
    ) -> None:
        self._held.remove(slot)
        if deadline is not None:
            try:
                self._dispatcher.check_deadline(self._lanes[lane], deadline)
            except DeadlinePassedError as error:
                self._slots.release(slot)
                self._send("failed", number, pickle.dumps(error))
                return
        work = self._dispatcher.submit(self._lanes[lane], slot, outputs, result_bytes, deadline)
        work.keeps_slot = True
        if lane in self._watched:
            work.begun = functools.partial(self._send, "begun", number)
        self._works[number] = work
        work.done.add_done_callback(functools.partial(self._settled, number, work))

    def _settled(self, number: int, work: Work, done: asyncio.Future[Execution]) -> None:
        error = done.exception()
        if self._works.pop(number, None) is None:
            return
        if error:
            self._send("failed", number, pickle.dumps(error))
            return
        one = done.result()
        self._held.add(work.slot)
        self._send("done", number, work.slot, one.queue_s, one.execute_s, one.device, one.batch_size)

    def _supersede(self, number: int) -> None:
        if work := self._works.get(number):
            self._dispatcher.supersede(work)

    def _abandon(self, number: int) -> None:
        if work := self._works.pop(number, None):
            self._drop(work)

    def _drop(self, work: Work) -> None:
        if not work.done.done():
            self._dispatcher.abandon(work)
        elif not work.done.exception():
            # The front end has not heard of it yet: nobody will read the outputs.
            self._slots.release(work.slot)

    def _open_window(self, number: int, ceiling: int, weight: float, adjustable: bool) -> None:
        if self._open_streams() >= self._max_streams:
            self._send(
                "no_window", number, f"{self._max_streams} streams are open, which is the limit; try again later"
            )
            return
        window = self._windows[number] = self._keeper.open(
            ceiling=ceiling,
            weight=weight,
            announce=functools.partial(self._send, "resize", number),
            adjustable=adjustable,
        )
        self._on_load()
        self._send("window", number, window.size)

    def _close_window(self, number: int) -> None:
        # It is not there if the stream was refused and had gone by then.
        if window := self._windows.pop(number, None):
            self._keeper.close(window)
            self._on_load()

    def _windows_used(self, used: Iterable[tuple[int, int, int]]) -> None:
        for number, peak, in_flight in used:
            self._windows[number].heard(peak, in_flight)
