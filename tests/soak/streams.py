"""One stream as it was planned."""

import asyncio
import random
from typing import Any

import grpc.aio
from tests.soak.ledger import Account, Tally
from tests.soak.pictures import Pictures
from tests.soak.plan import Ending, StreamPlan, starts_with_vector
from tests.soak.rests import rest

from nasfeat.v1 import feature_service_pb2, feature_service_pb2_grpc

_Request = feature_service_pb2.StreamFeaturesRequest
_WITHOUT_WINDOW = 2**31
# What grpc.aio puts in place of the status when a call ends while a write is under way
# (https://github.com/grpc/grpc/issues/36066).
_HIDDEN = "Internal error from Core"


class StreamRun:
    """A stream from its opening to its end.

    Args:
        name: for complaints.
        plan: what it does.
        draw: for its images.
        pictures: what its frames are made of.
        tally: where it counts.
        stop: when set, it sends no more frames and ends as planned.
    """

    def __init__(
        self,
        *,
        name: str,
        plan: StreamPlan,
        draw: random.Random,
        pictures: Pictures,
        tally: Tally,
        stop: asyncio.Event,
    ) -> None:
        self._plan = plan
        self._draw = draw
        self._pictures = pictures
        self._tally = tally
        self._stop = stop
        ordered = plan.delivery_order == feature_service_pb2.DELIVERY_ORDER_ORDERED
        self._account = Account(name=name, ordered=ordered)
        self._window = 0 if plan.heeds_window else _WITHOUT_WINDOW
        self._per_message = 1
        self._packed: list[feature_service_pb2.Frame] = []
        self._changed = asyncio.Event()
        self._granted = False
        self._summary: feature_service_pb2.StreamSummary | None = None
        self.refused = False

    def __repr__(self) -> str:
        """Show what it waits for."""
        account = self._account
        frames = f"sent={account.sent} in_flight={account.in_flight} oldest={account.oldest}"
        state = f"{frames} window={self._window} granted={self._granted}"
        return f"<{account.name} {state} {self._plan}>"

    async def over(self, stub: "feature_service_pb2_grpc.FeatureServiceAsyncStub") -> list[str]:
        """Run it; returns complaints."""
        self._tally.add("streams")
        call: Any = stub.StreamFeatures()
        loop = asyncio.get_running_loop()
        cancelling = self._plan.ending is Ending.CANCEL
        timer = loop.call_later(self._plan.cancel_after_s, call.cancel) if cancelling else None
        # A call that is cancelled cancels whoever reads or writes; a group takes that for their end.
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write(call))
            reading = tasks.create_task(self._read(call))
            reading.add_done_callback(lambda _: writing.cancel())
        if timer:
            timer.cancel()
        complaints = self._conclude(await call.code(), await call.details())
        return [*complaints, *self._account.complaints]

    async def _write(self, call: Any) -> None:
        try:
            await call.write(self._opening())
            for number in range(self._plan.frames):
                await self._until_room(call)
                await rest()
                if self._stop.is_set():
                    break
                self._pack(number)
                if len(self._packed) >= self._per_message:
                    await self._send(call)
                await asyncio.sleep(self._plan.pause_s)
            await self._send(call)
            if self._plan.ending is Ending.BREAK:
                # Options may only come first. Nothing may follow: see `_HIDDEN`.
                await call.write(self._opening())
            else:
                await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call has ended; its status tells why.
            return

    def _pack(self, number: int) -> None:
        image, expected = self._pictures.draw(self._draw, marked=starts_with_vector(self._plan))
        self._account.send(number, expected)
        self._tally.add("sent")
        self._packed.append(feature_service_pb2.Frame(frame_id=number, image=image))

    async def _send(self, call: Any) -> None:
        frames, self._packed = self._packed, []
        if len(frames) > 1:
            await call.write(_Request(frames=feature_service_pb2.FrameBatch(frames=frames)))
        elif frames:
            await call.write(_Request(frame=frames[0]))

    async def _until_room(self, call: Any) -> None:
        while self._account.in_flight >= self._window:
            await self._send(call)
            self._changed.clear()
            if self._account.in_flight >= self._window:
                await self._changed.wait()

    async def _read(self, call: Any) -> None:
        try:
            while (reply := await call.read()) is not grpc.aio.EOF:
                self._take(reply)
                self._changed.set()
                if self._plan.read_pause_s:
                    await asyncio.sleep(self._plan.read_pause_s)
        except grpc.aio.AioRpcError:
            # The call's status tells why.
            return

    def _take(self, reply: feature_service_pb2.StreamFeaturesResponse) -> None:
        kind = reply.WhichOneof("message")
        if kind == "result":
            self._tally.add(self._account.answer(reply.result))
        elif kind == "results":
            for result in reply.results.results:
                self._tally.add(self._account.answer(result))
        elif kind == "summary":
            self._summary = reply.summary
        elif kind == "granted":
            self._granted = True
            self._per_message = reply.granted.options.frames_per_message
        if self._plan.heeds_window and kind == "granted":
            self._window = reply.granted.options.window
        elif self._plan.heeds_window and kind == "window_update":
            self._window = reply.window_update.window

    def _conclude(self, code: grpc.StatusCode, details: str) -> list[str]:
        expected = grpc.StatusCode.INVALID_ARGUMENT if self._plan.ending is Ending.BREAK else grpc.StatusCode.OK
        in_flight = self._account.in_flight
        if code is expected:
            self._account.finish(self._summary)
            return []
        self._tally.add("cancelled", in_flight)
        if self._plan.ending is Ending.CANCEL and (code is grpc.StatusCode.CANCELLED or details == _HIDDEN):
            self._tally.add("streams_cancelled")
            return []
        self.refused = not self._granted and code is grpc.StatusCode.UNAVAILABLE
        if self.refused:
            self._tally.add("streams_refused")
            return []
        return [f"{self._account.name}: ended with {code.name}: {details} ({in_flight} frames in flight)"]

    def _opening(self) -> feature_service_pb2.StreamFeaturesRequest:
        plan = self._plan
        options = feature_service_pb2.StreamOptions(
            outputs=plan.outputs,
            delivery_order=plan.delivery_order,  # type: ignore[arg-type]
            overload_policy=plan.overload_policy,  # type: ignore[arg-type]
            priority=plan.priority,  # type: ignore[arg-type]
            window=plan.window,
            top_k=plan.top_k,
            frames_per_message=plan.frames_per_message,
        )
        if plan.deadline_s is not None:
            options.frame_deadline.FromMilliseconds(round(1000 * plan.deadline_s))
        return _Request(options=options)
