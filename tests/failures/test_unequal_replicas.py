"""Row 11: replicas of unequal speed behind one stream."""

import functools
from typing import Any

from gated import gated
from nasfeat.v1 import feature_service_pb2
from serving import frame, next_result, opening, until


async def _stream(server: Any, order: int, count: int) -> Any:
    call = server.stub.StreamFeatures()
    await call.write(opening(delivery_order=order))
    for number in range(count):
        await call.write(frame(number))
        await server.received(number + 1)
    return call


async def test_an_ordered_stream_keeps_its_order_over_a_fast_and_a_slow_device() -> None:
    """Row 11: the slow device holds the first frame while the fast one computes the others: they wait for it."""
    async with gated(busy_s=(0.0, 0.0)) as server:
        slow, fast = server.devices
        call = await _stream(server, feature_service_pb2.DELIVERY_ORDER_ORDERED, 10)
        assert slow.computed == [0]
        fast.turnstile.admit(20)
        await until(lambda: fast.computed == [1, 3, 4, 5, 6, 7, 8, 9])
        slow.turnstile.admit(2)
        results = [await next_result(call) for _ in range(10)]
        assert [result.frame_id for result in results if result] == list(range(10))
        assert all(result.HasField("features") for result in results if result)
        call.cancel()


async def test_a_stream_without_order_is_not_held_up_by_one_slow_frame() -> None:
    """Row 11: as completed, everything but the frames on the slow device arrives while that one works."""
    async with gated(busy_s=(0.0, 0.0)) as server:
        slow, fast = server.devices
        call = await _stream(server, feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED, 10)
        fast.turnstile.admit(20)
        early = [await next_result(call) for _ in range(8)]
        assert sorted(result.frame_id for result in early if result) == [1, 3, 4, 5, 6, 7, 8, 9]
        slow.turnstile.admit(2)
        late = [await next_result(call) for _ in range(2)]
        assert [result.frame_id for result in late if result] == [0, 2]
        call.cancel()


async def test_each_device_gets_as_much_as_it_can_do() -> None:
    """Row 11: a device that ends three batches while the other ends one gets three times its frames, by pull alone."""
    async with gated(busy_s=(3.0, 1.0), slots=64) as server:
        slow, fast = server.devices
        call = await _stream(server, feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED, 32)
        for batch in range(7):
            slow.turnstile.admit()
            fast.turnstile.admit(3)
            begun = (batch + 2, 3 * (batch + 1) + 1)
            await until(functools.partial(_have_begun, server, begun))
        # Each has begun one more, and the next one is at its side.
        assert (len(slow.computed), len(fast.computed)) == (8, 22)
        call.cancel()


def _have_begun(server: Any, counts: tuple[int, int]) -> bool:
    return tuple(len(device.numbers) for device in server.devices) == counts


async def test_a_lone_frame_goes_to_the_faster_of_two_idle_devices() -> None:
    """Row 11: once both are known, the fast device is asked first."""
    async with gated(busy_s=(3.0, 1.0)) as server:
        slow, fast = server.devices
        slow.turnstile.admit(100)
        fast.turnstile.admit(100)
        call = await _stream(server, feature_service_pb2.DELIVERY_ORDER_AS_COMPLETED, 2)
        for _ in range(2):
            await next_result(call)
        known = len(slow.computed), len(fast.computed)
        for number in range(2, 10):
            await call.write(frame(number))
            await next_result(call)
        assert known in {(1, 1), (2, 0), (0, 2)}
        assert fast.computed[-7:] == list(range(3, 10))
        call.cancel()
