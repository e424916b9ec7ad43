"""What the queue says of itself to those who decide how many replicas there shall be."""

import asyncio

import pytest

from nasfeat_server.engine.arena import Arena, ArenaLayout
from nasfeat_server.engine.fake import FakeExecutor
from nasfeat_server.scheduling.queue import FairQueue
from nasfeat_server.scheduling.seat import Seat
from nasfeat_server.scheduling.work import Work


class _Bench:
    """A queue, and replicas of a known speed that take nothing from it."""

    def __init__(self, replicas: int, batches: dict[int, float]) -> None:
        self.queue = FairQueue((1, 2, 4), lambda _: None, clock=lambda: 7.0)
        arena = Arena.create(ArenaLayout(slots=1, image_height=4, image_width=4, result_bytes=64))
        for _ in range(replicas):
            seat = Seat(FakeExecutor(arena))
            for size, seconds in batches.items():
                seat.latency.observe(size, seconds)
            self.queue.seats.sit_down(seat)

    def push(self, lane: int, count: int = 1) -> None:
        for _ in range(count):
            done = asyncio.get_running_loop().create_future()
            self.queue.push(Work(lane=lane, slot=0, outputs=(), result_bytes=0, deadline=None, done=done))


async def test_work_is_seen_with_those_that_do_it() -> None:
    """Images so far, those that wait, the replicas that take work and what they do together in full batches."""
    bench = _Bench(2, {4: 0.1})
    lane = bench.queue.lanes.open(1.0)
    bench.push(lane, 3)
    bench.queue.take_out_all()
    bench.push(lane, 2)
    look = bench.queue.look()
    assert (look.at, look.submitted, look.live, look.waiting, look.replicas) == (7.0, 5, 0, 2, 2)
    assert look.rate == look.live_rate == pytest.approx(80)


async def test_live_streams_are_measured_by_the_batches_that_they_can_fill() -> None:
    """Of any number an image each: two in a batch that could be of four, four of five, and all when there are none."""
    bench = _Bench(1, {1: 0.1, 2: 0.1, 4: 0.1})
    patient = bench.queue.lanes.open(1.0)
    bench.push(patient)
    lanes, rates = [], []
    for _ in range(5):
        lanes.append(bench.queue.lanes.open(1.0, live=True))
        rates.append(bench.queue.look().live_rate)
    assert rates == [pytest.approx(rate) for rate in (10, 20, 20, 40, 40)]
    bench.push(lanes[0], 2)
    assert (bench.queue.look().submitted, bench.queue.look().live) == (3, 2)
    bench.queue.take_out_all()
    for lane in lanes:
        bench.queue.lanes.close(lane)
    assert bench.queue.look().live_rate == bench.queue.look().rate


async def test_nothing_is_known_of_replicas_that_have_done_nothing() -> None:
    """Of one of them is enough."""
    bench = _Bench(1, {})
    bench.queue.lanes.open(1.0, live=True)
    assert bench.queue.look().rate == bench.queue.look().live_rate == float("inf")
