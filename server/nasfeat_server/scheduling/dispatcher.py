"""Between those who wait for features and the replicas: carries out what `policy` decides and failures ask for."""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence

from nasfeat_server.engine.interface import Executor, Outputs
from nasfeat_server.errors import ExecutionFailedError, NasfeatError, ReplicaLostError
from nasfeat_server.scheduling import policy
from nasfeat_server.scheduling.queue import Batch, FairQueue, Seat
from nasfeat_server.scheduling.slots import SlotPool
from nasfeat_server.scheduling.work import Execution, Work
from nasfeat_server.telemetry.events import BatchFinished, Observer


class Dispatcher:
    """Takes decoded images, gives batches to replicas, and settles every work exactly once.

    Args:
        slots: where the slot of a settled work goes back to.
        buckets: the prepared batch sizes, ascending from 1.
        collect: copies so many bytes of outputs of a slot out of the arena.
        observer: told of every batch.
    """

    def __init__(
        self, *, slots: SlotPool, buckets: Sequence[int], collect: Callable[[int, int], bytes], observer: Observer
    ) -> None:
        self._slots = slots
        self._queue = FairQueue(buckets)
        self._collect = collect
        self._observer = observer

    @property
    def depth(self) -> int:
        """Images that wait for a replica."""
        return self._queue.depth

    def open_lane(self, weight: float) -> int:
        """Add a stream with its share of the devices; returns its number for `submit`."""
        return self._queue.open_lane(weight)

    def close_lane(self, lane: int) -> None:
        """Forget a stream whose images are all settled or withdrawn."""
        self._queue.close_lane(lane)

    def submit(self, lane: int, slot: int, outputs: Outputs, result_bytes: int) -> Work:
        """Queue the image in `slot`, which belongs to the dispatcher from now on; await the result's `done`.

        Args:
            lane: the stream's, from `open_lane`.
            slot: where the image is, and where `outputs` will be.
            outputs: the names of what is wanted.
            result_bytes: how much that is.
        """
        done = asyncio.get_running_loop().create_future()
        work = Work(lane=lane, slot=slot, outputs=outputs, result_bytes=result_bytes, done=done)
        work.queued_at = time.monotonic()
        self._queue.push(work)
        return work

    def expire(self, work: Work) -> bool:
        """Take `work` out if it still waits for a replica; False if one has it, or had."""
        if self._queue.remove(work):
            self._slots.release(work.slot)
            return True
        return False

    def abandon(self, work: Work) -> None:
        """Nobody waits for `work` any more: drop it before the device if that is still possible."""
        if not self.expire(work):
            work.abandoned = True

    async def serve(self, executor: Executor) -> None:
        """Give batches to `executor` until cancelled, which may happen only when its replica is dead or idle."""
        seat = Seat(executor)
        async with asyncio.TaskGroup() as batches:
            while True:
                batch = await self._queue.take(seat)
                running = batches.create_task(self._run(seat, batch))
                running.add_done_callback(functools.partial(self._ended, seat, batch))

    async def _run(self, seat: Seat, batch: Batch) -> None:
        try:
            busy_s = await seat.executor.run(
                [work.slot for work in batch.works], [work.outputs for work in batch.works]
            )
        except ReplicaLostError as error:
            seat.lost = True
            self._retry(batch, error)
        except ExecutionFailedError as error:
            self._isolate(batch, error)
        else:
            self._complete(seat.executor.device, batch, busy_s)

    def _ended(self, seat: Seat, batch: Batch, running: asyncio.Task[None]) -> None:
        # A callback, since a task that is cancelled before its first step runs nothing of its own. Only a dead
        # replica's batches are cancelled, and only those that it had not begun.
        if running.cancelled():
            seat.lost = True
            self._retry(batch, ReplicaLostError("the replica is gone", started=False))
        self._queue.finished(seat)

    def _complete(self, device: str, batch: Batch, busy_s: float) -> None:
        now = time.monotonic()
        for work in batch.works:
            results = self._collect(work.slot, work.result_bytes)
            self._slots.release(work.slot)
            if not work.done.done():
                queue_s = now - work.queued_at - busy_s
                work.done.set_result(Execution(results=results, queue_s=queue_s, execute_s=busy_s, device=device))
        self._observer.observe(
            BatchFinished(device=device, size=len(batch.works), close_reason=batch.close_reason, busy_s=busy_s)
        )

    def _retry(self, batch: Batch, error: ReplicaLostError) -> None:
        """Give the frames of a dead replica to the others; an image that kills ends up alone, then fails."""
        for work in batch.works:
            work.attempts += error.started
            work.alone = work.alone or not policy.may_retry_in_company(work.attempts)
            if policy.may_retry(work.attempts):
                self._return(work)
            else:
                self._fail(work, error)

    def _isolate(self, batch: Batch, error: ExecutionFailedError) -> None:
        """Run each frame of a failed batch alone: those that are sound succeed, the one that is not fails alone."""
        for work in batch.works:
            if len(batch.works) == 1:
                self._fail(work, error)
            else:
                work.alone = True
                self._return(work)

    def _return(self, work: Work) -> None:
        if work.abandoned:
            self._slots.release(work.slot)
        else:
            self._queue.give_back(work)

    def _fail(self, work: Work, error: NasfeatError) -> None:
        self._slots.release(work.slot)
        if not (work.abandoned or work.done.done()):
            work.done.set_exception(error)
