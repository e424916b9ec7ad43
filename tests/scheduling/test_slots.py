"""Admission to the arena."""

import asyncio

import pytest

from nasfeat_server.errors import OverloadedError
from nasfeat_server.scheduling.slots import SlotPool


async def test_slots_are_given_in_the_order_of_asking() -> None:
    """Whoever waits longest gets the next free slot."""
    pool = SlotPool(1)
    held = await pool.acquire()
    waiters = [asyncio.ensure_future(pool.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    for waiter in waiters:
        pool.release(held)
        assert await waiter == held
    assert pool.in_use == 1


async def test_the_limit_of_the_line_is_exact_and_named() -> None:
    """The caller after the last place is refused with the numbers; the others keep waiting."""
    pool = SlotPool(1)
    await pool.acquire()
    waiters = [asyncio.ensure_future(pool.acquire(max_waiting=2)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="all 1 slots are taken and 2 images wait for one, the limit is 2"):
        await pool.acquire(max_waiting=2)
    assert pool.waiting == 2
    for waiter in waiters:
        waiter.cancel()


async def test_a_slot_handed_to_a_cancelled_waiter_is_not_lost() -> None:
    """A waiter cancelled in the very turn in which it is served passes its slot on."""
    pool = SlotPool(1)
    held = await pool.acquire()
    first, second = (asyncio.ensure_future(pool.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    pool.release(held)
    first.cancel()
    assert await second == held
    pool.release(held)
    assert pool.in_use == 0


async def test_a_cancelled_waiter_leaves_the_line() -> None:
    """A waiter that gives up is not served."""
    pool = SlotPool(1)
    held = await pool.acquire()
    waiter = asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert pool.waiting == 0
    pool.release(held)
    assert pool.in_use == 0
