"""Row 12: one stream that sends a hundred times what the others do."""

import asyncio
from typing import Any

import grpc.aio

from gated import Gated, gated
from serving import frame, opening, pixels, until

_QUIET = 16
_ROUNDS = 12
_FLOOD = 32
_FLOOD_NUMBERS = 50_000


class _Stream:
    """A client that keeps to its window."""

    def __init__(self, server: Gated) -> None:
        self.call: Any = server.stub.StreamFeatures()
        self.window = 0
        self.sent = 0
        self.answered = 0

    async def read_all(self) -> None:
        """Open the stream, and read to its end."""
        await self.call.write(opening(window=_FLOOD))
        while (reply := await self.call.read()) is not grpc.aio.EOF:
            self.answered += reply.HasField("result")
            if reply.HasField("granted"):
                self.window = reply.granted.options.window
            if reply.HasField("window_update"):
                self.window = reply.window_update.window

    async def send(self, number: int) -> None:
        """Send the image `number`, when the window allows it."""
        await until(lambda: self.sent - self.answered < self.window)
        await self.call.write(frame(self.sent, pixels(number)))
        self.sent += 1


async def _waits(server: Gated, *, flood: bool) -> list[int]:
    """Let sixteen streams send a frame each, round after round, and count the frames computed while each waits.

    A round begins when the one before is computed; the flood always has its whole window in flight.
    """
    streams = [_Stream(server) for _ in range(_QUIET + 1)]
    reading = [asyncio.ensure_future(stream.read_all()) for stream in streams]
    *quiet, flooding = streams
    waits: list[int] = []

    async def refill() -> None:
        while flood and flooding.sent - flooding.answered < flooding.window:
            await flooding.send(_FLOOD_NUMBERS + flooding.sent)
        await server.received(sum(stream.sent for stream in streams))

    for round_ in range(_ROUNDS):
        await refill()
        before = len(server.device.computed)
        numbers = range(round_ * _QUIET, (round_ + 1) * _QUIET)
        for stream, number in zip(quiet, numbers, strict=True):
            await stream.send(number)
        while not set(numbers) <= set(server.device.computed):
            await refill()
            begun = len(server.device.numbers)
            server.device.turnstile.admit()
            while len(server.device.numbers) == begun:  # noqa: ASYNC110 - a batch begins without an event
                await asyncio.sleep(0)
        computed = server.device.computed
        waits += [computed.index(number) - before for number in numbers]
        server.windows.adjust()
    for stream in streams:
        stream.call.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    server.device.turnstile.admit(10**6)
    if flood:
        # It is served in its turn, and what it is served it sends again.
        assert flooding.sent > 5 * _ROUNDS
    return waits


def _p99(values: list[int]) -> int:
    return sorted(values)[int(0.99 * len(values))]


async def test_a_flood_does_not_make_the_others_wait() -> None:
    """Row 12: their p99 wait, counted in frames computed meanwhile, is at most 1.5 times that without the flood."""
    async with gated(slots=96, max_batch_size=4) as server:
        alone = _p99(await _waits(server, flood=False))
    async with gated(slots=96, max_batch_size=4) as server:
        beside = _p99(await _waits(server, flood=True))
    print(f"p99 wait of 16 streams in frames computed meanwhile: alone {alone}, beside a flood {beside}")
    assert beside <= 1.5 * alone
