"""Between those who wait for features and the replicas: carries out what `policy` decides and failures ask for."""

import asyncio
import functools
import itertools
import math
import time
from collections.abc import Callable, Sequence

from nasfeat_server.engine.interface import Executor, Outputs
from nasfeat_server.errors import (
    DeadlinePassedError,
    DeviceMemoryError,
    ExecutionFailedError,
    NasfeatError,
    ReplicaLostError,
    SupersededError,
)
from nasfeat_server.scheduling import admission, limits, policy
from nasfeat_server.scheduling.queue import FairQueue
from nasfeat_server.scheduling.scaling import Look
from nasfeat_server.scheduling.seat import Batch, Seat
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.work import Execution, Work
from nasfeat_server.telemetry.events import BatchFinished, BatchLimitChanged, Observer


class Dispatcher:
    """Takes decoded images, gives batches to replicas, and settles every work exactly once.

    Args:
        slots: where the slot of a settled work goes back to.
        buckets: the prepared batch sizes, ascending from 1.
        collect: copies so many bytes of outputs of a slot out of the arena.
        outage_s: seconds without any replica after which waiting is given up.
        observer: told of every batch.
    """

    def __init__(
        self,
        *,
        slots: SlotPool,
        buckets: Sequence[int],
        collect: Callable[[int, int], bytes],
        outage_s: float,
        observer: Observer,
    ) -> None:
        self._slots = slots
        self._buckets = tuple(buckets)
        self._queue = FairQueue(buckets, self._expired)
        self._collect = collect
        self._outage_s = outage_s
        self._observer = observer
        self._outage: asyncio.TimerHandle | None = None
        self._given_up = False

    @property
    def depth(self) -> int:
        """Images that wait for a replica."""
        return self._queue.depth

    def look(self) -> Look:
        """Say what there is to do now, and who does it."""
        return self._queue.look()

    def open_lane(self, weight: float, *, live: bool = False) -> int:
        """Add a stream with its share of the devices; returns its number for `submit`.

        Args:
            weight: the share.
            live: its frames grow stale, so that none is given to a device ahead of time.
        """
        return self._queue.lanes.open(weight, live=live)

    def close_lane(self, lane: int) -> None:
        """Forget a stream whose images are all settled or withdrawn."""
        self._queue.lanes.close(lane)

    def waiting_in(self, lane: int) -> int:
        """Count the images of a stream that no replica has had."""
        return self._queue.lanes.waiting_in(lane)

    def submit(self, lane: int, slot: int, outputs: Outputs, result_bytes: int, deadline: float | None = None) -> Work:
        """Queue the image in `slot`, which belongs to the dispatcher from now on; await the result's `done`.

        Args:
            lane: the stream's, from `open_lane`.
            slot: where the image is, and where `outputs` will be.
            outputs: the names of what is wanted.
            result_bytes: how much that is.
            deadline: when it must be done, on the monotonic clock; None for never.
        """
        done = asyncio.get_running_loop().create_future()
        work = Work(lane=lane, slot=slot, outputs=outputs, result_bytes=result_bytes, deadline=deadline, done=done)
        work.queued_at = time.monotonic()
        if self._given_up:
            self._fail(work, self._no_replica())
        else:
            self._queue.push(work)
        return work

    def check_up(self) -> None:
        """Do nothing, unless there has been no replica for so long that waiting for one is given up.

        Raises:
            ReplicaLostError: there has.
        """
        if self._given_up:
            raise self._no_replica()

    def check_deadline(self, lane: int, deadline: float) -> None:
        """Refuse at once an image of a stream that cannot be done in time, before it costs anything.

        Raises:
            DeadlinePassedError: the images that are served before it, and itself, take longer.
        """
        now, seats = time.monotonic(), self._queue.seats
        if not seats or now + self._ready_in_s(self.depth, now) <= deadline:
            return
        lanes = self._queue.lanes
        ahead = admission.frames_ahead(lanes.waiting_in(lane), lanes.weight_of(lane), lanes.shares())
        ready_s = self._ready_in_s(min(ahead, self.depth), now)
        if now + ready_s > deadline:
            left_s = max(0.0, deadline - now)
            raise DeadlinePassedError(
                f"the image would be ready in {ready_s:.3f} s at best, and its deadline is in {left_s:.3f} s",
                retry_after_s=ready_s - left_s,
            )

    def _ready_in_s(self, ahead: int, now: float) -> float:
        means = self._queue.seats.means(now, admission.own_batch(ahead, self._buckets))
        return admission.ready_in_s(ahead, means)

    def drain_s(self) -> float:
        """Estimate how long the images that wait now keep the replicas busy."""
        rate = self._queue.seats.rate
        return self.depth / rate if 0 < rate < math.inf else 1.0

    def withdraw(self, work: Work) -> bool:
        """Take `work` out if it still waits for a replica; False if one has it, or had."""
        if self._queue.remove(work):
            self._slots.release(work.slot)
            return True
        return False

    def supersede_oldest(self, lane: int) -> None:
        """Give up the stream's oldest image that no replica has had: a newer one takes its place."""
        self.supersede(self._queue.lanes.oldest(lane))

    def supersede(self, work: Work) -> None:
        """Give up `work` for a newer image of its stream, unless a replica has it, or had."""
        if self.withdraw(work) and not work.done.done():
            work.done.set_exception(SupersededError)

    def abandon(self, work: Work) -> None:
        """Nobody waits for `work` any more: drop it before the device if that is still possible."""
        if not self.withdraw(work):
            work.abandoned = True

    def close(self) -> None:
        """Wait for no replica any more."""
        if self._outage:
            self._outage.cancel()

    async def serve(self, executor: Executor, leave: asyncio.Event | None = None) -> None:
        """Give batches to `executor` until cancelled, which may happen only when its replica is dead or idle.

        From when `leave` is set it gets none, and this returns as soon as it has done with those that it has.
        """
        seat = Seat(executor)
        self._arrived(seat)
        try:
            async with asyncio.TaskGroup() as batches:
                batches.create_task(self._queue.dismiss_after(leave or asyncio.Event(), seat))
                while batch := await self._queue.take(seat):
                    running = batches.create_task(self._run(seat, batch))
                    running.add_done_callback(functools.partial(self._ended, seat, batch))
        finally:
            self._left(seat)

    def _arrived(self, seat: Seat) -> None:
        self._queue.seats.sit_down(seat)
        self._announce_limit(seat)
        self._given_up = False
        self.close()

    def _left(self, seat: Seat) -> None:
        self._queue.seats.leave(seat)
        if not self._queue.seats:
            # Several may have been lost before the first one leaves.
            self.close()
            self._outage = asyncio.get_running_loop().call_later(self._outage_s, self._give_up)

    def _give_up(self) -> None:
        """After a long time without a replica, tell those who wait; the next replica starts afresh."""
        self._given_up = True
        for work in self._queue.take_out_all():
            self._fail(work, self._no_replica())

    def _no_replica(self) -> ReplicaLostError:
        return ReplicaLostError(f"no replica has been up for {self._outage_s:g} s; try another server")

    async def _run(self, seat: Seat, batch: Batch) -> None:
        self._announce_limit(seat)
        limit, works = seat.limit.size, batch.works
        for work in works:
            if work.begun:
                work.begun()
        try:
            busy_s = await seat.executor.run([work.slot for work in works], [work.outputs for work in works])
        except ReplicaLostError as error:
            self._queue.lose(seat)
            self._retry(batch, error)
        except DeviceMemoryError as error:
            lowered = limits.after_out_of_memory(seat.limit, len(batch.works), time.monotonic())
            self._queue.seats.limit(seat, lowered)
            self._announce_limit(seat)
            self._divide(batch, error)
        except ExecutionFailedError as error:
            self._divide(batch, error)
        else:
            seat.latency.observe(len(batch.works), busy_s)
            self._complete(seat.executor.device, batch, limit, busy_s)

    def _ended(self, seat: Seat, batch: Batch, running: asyncio.Task[None]) -> None:
        # A callback, since a task that is cancelled before its first step runs nothing of its own. Only a dead
        # replica's batches are cancelled, and only those that it had not begun.
        if running.cancelled():
            self._queue.lose(seat)
            self._retry(batch, ReplicaLostError("the replica is gone", started=False))
        self._queue.finished(seat)

    def _complete(self, device: str, batch: Batch, limit: int, busy_s: float) -> None:
        now, size = time.monotonic(), len(batch.works)
        for work in batch.works:
            kept = work.keeps_slot and not work.abandoned
            results = b"" if work.keeps_slot else self._collect(work.slot, work.result_bytes)
            if not kept:
                self._slots.release(work.slot)
            if not work.done.done():
                queue_s = now - work.queued_at - busy_s
                work.done.set_result(
                    Execution(results=results, queue_s=queue_s, execute_s=busy_s, device=device, batch_size=size)
                )
        self._observer.observe(
            BatchFinished(device=device, size=size, limit=limit, close_reason=batch.close_reason, busy_s=busy_s)
        )

    def _announce_limit(self, seat: Seat) -> None:
        if seat.limit.size != seat.announced_limit:
            seat.announced_limit = seat.limit.size
            self._observer.observe(BatchLimitChanged(device=seat.executor.device, limit=seat.limit.size))

    def _retry(self, batch: Batch, error: ReplicaLostError) -> None:
        """Give the frames of a dead replica to the others; an image that kills ends up alone, then fails."""
        for work in batch.works:
            work.attempts += error.started
        wanted = self._still_wanted(batch)
        again = [work for work in wanted if policy.may_retry(work.attempts)]
        for work in wanted:
            if work not in again:
                self._fail(work, error)
        if not error.started:
            self._queue.give_back(again)
        elif all(policy.may_retry_in_company(work.attempts) for work in again):
            self._queue.give_back_together(again)
        else:
            for work in again:
                self._queue.give_back_together((work,))

    def _divide(self, batch: Batch, error: ExecutionFailedError) -> None:
        """Run the halves of a failed batch by themselves, until the image that fails is alone and fails alone."""
        if len(batch.works) == 1:
            self._fail(batch.works[0], error)
            return
        works = iter(self._still_wanted(batch))
        for size in policy.divided(len(batch.works), len(batch.works), self._buckets):
            self._queue.give_back_together(tuple(itertools.islice(works, size)))

    def _still_wanted(self, batch: Batch) -> list[Work]:
        """Give the works of a batch that somebody waits for, and free what the others hold."""
        wanted = []
        for work in batch.works:
            if work.abandoned:
                self._slots.release(work.slot)
            else:
                wanted.append(work)
        return wanted

    def _expired(self, work: Work) -> None:
        waited_s = time.monotonic() - work.queued_at
        if self._queue.seats:
            self._fail(work, DeadlinePassedError(f"the image waited {waited_s:.3f} s and its deadline cannot be met"))
        else:
            self._fail(work, ReplicaLostError(f"no replica was up for {waited_s:.3f} s, and the deadline passed"))

    def _fail(self, work: Work, error: NasfeatError) -> None:
        self._slots.release(work.slot)
        if not (work.abandoned or work.done.done()):
            work.done.set_exception(error)
