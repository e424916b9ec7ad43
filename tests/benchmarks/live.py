"""Live video: what a flood costs the other streams, and how old results are when a camera outruns the device.

Time is the server's own, of `Timings`, or from a frame's capture to its result's arrival. The fake engine sleeps, so
that the device's speed is the same for a figure and its reference.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import numpy as np
from measure import SIZE, Program, photographs

from nasfeat_client import AsyncFeatureClient, DeliveryOrder, Frame, OverloadPolicy, StreamOptions

BATCH_S = 0.02
_QUIET = 16
_PERIOD_S = 0.25


async def p99_queue_wait_s(server: Program, *, flood: bool, seconds: float) -> float:
    """Measure the p99 queue wait of sixteen streams of four frames a second each, alone or beside a flood."""
    waits: list[float] = []
    async with AsyncFeatureClient(server.address) as client:
        flooding = asyncio.ensure_future(_flood(client)) if flood else None
        # The windows settle within a second or two.
        await asyncio.sleep(3)
        await asyncio.gather(*(_quiet(client, number, seconds, waits) for number in range(_QUIET)))
        if flooding:
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
    return float(np.percentile(waits, 99))


async def _quiet(client: AsyncFeatureClient, number: int, seconds: float, waits: list[float]) -> None:
    ends_at = time.monotonic() + seconds

    async def frames() -> AsyncIterator[Frame]:
        # Out of step with the others.
        await asyncio.sleep(number * _PERIOD_S / _QUIET)
        while time.monotonic() < ends_at:
            yield Frame(np.random.default_rng().integers(0, 256, (SIZE, SIZE, 3), np.uint8))
            await asyncio.sleep(_PERIOD_S)

    async for result in client.stream(frames()):
        result.raise_for_error()
        waits.append(result.timings.queue_s)


async def _flood(client: AsyncFeatureClient) -> None:
    pictures = photographs(64)

    async def frames() -> AsyncIterator[Frame]:
        number = 0
        while True:
            yield Frame(pictures[number % 64])
            number += 1

    async for _ in client.stream(frames()):
        pass


async def ages_s(server: Program, *, policy: OverloadPolicy, frames: int) -> list[float]:
    """Measure the age of each computed result of a camera three times as fast as the device."""
    pictures = photographs(16)

    async def camera() -> AsyncIterator[Frame]:
        due = time.monotonic()
        for number in range(frames):
            yield Frame(pictures[number % 16], capture_time=datetime.now(UTC))
            due += BATCH_S / 3
            await asyncio.sleep(max(0, due - time.monotonic()))

    options = StreamOptions(overload_policy=policy, delivery_order=DeliveryOrder.AS_COMPLETED)
    async with AsyncFeatureClient(server.address) as client:
        return [
            (datetime.now(UTC) - result.capture_time).total_seconds()
            async for result in client.stream(camera(), options)
            if result.ok and result.capture_time
        ]


def percentiles(ages: list[float]) -> tuple[float, float]:
    """Give the median and the 99th percentile."""
    return statistics.median(ages), float(np.percentile(ages, 99))
