"""Identical images over the wire: computed once, told so, and nobody depends on another's fate."""

import asyncio
from typing import Any

import pytest
from cachetools import LRUCache

from gated import Gated, gated
from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from nasfeat_server.scheduling.sharing import Key, Sharing
from pictures import png
from serving import connected, frame, metric, next_result, opening, pixels, running, until

_LATEST_ONLY = feature_service_pb2.OVERLOAD_POLICY_LATEST_ONLY
_COMPUTED = feature_service_pb2.RESULT_SOURCE_COMPUTED
_SHARED = feature_service_pb2.RESULT_SOURCE_SHARED
_CACHED = feature_service_pb2.RESULT_SOURCE_CACHED


def _single_flight(max_bytes: int = 2**20) -> Sharing:
    return Sharing(cache=None, max_bytes=max_bytes)


async def _stream(server: Gated, *requests: Any, **options: Any) -> Any:
    """Open a stream and send it `requests`."""
    call = server.stub.StreamFeatures()
    await call.write(opening(**options))
    await call.read()
    for request in requests:
        await call.write(request)
    return call


async def test_many_streams_with_one_image_cost_one_computation() -> None:
    """Eight streams send the same picture while it is on its way: the device sees it once, each gets its features."""
    async with gated(sharing=_single_flight()) as server:
        calls = [await _stream(server, frame(5, pixels(7))) for _ in range(8)]
        await server.received(8)
        assert server.path.slots.in_use == 1
        server.device.turnstile.admit(8)
        results = [await next_result(call) for call in calls]
        assert server.device.computed == [7]
        assert sorted(result.source for result in results if result) == [_COMPUTED, *[_SHARED] * 7]
        assert len({result.features.SerializeToString() for result in results if result}) == 1
        for call in calls:
            call.cancel()


async def test_other_pixels_other_layouts_and_other_outputs_are_not_the_same() -> None:
    """Equal bytes as RGB and as BGR, and one image with two outputs: each is computed."""
    async with gated(sharing=_single_flight()) as server:
        bgr = pixels(7)
        bgr.raw.pixel_format = image_pb2.PIXEL_FORMAT_BGR8
        calls = [
            await _stream(server, frame(0, pixels(7))),
            await _stream(server, frame(0, bgr)),
            await _stream(server, frame(0, pixels(7)), outputs=["Logits"]),
        ]
        server.device.turnstile.admit(8)
        results = [await next_result(call) for call in calls]
        assert [result.source for result in results if result] == [_COMPUTED] * 3
        for call in calls:
            call.cancel()


async def test_a_leader_that_leaves_is_followed_by_another() -> None:
    """The stream that came first is cancelled before the device begins: the next one computes, the third shares."""
    async with gated(sharing=_single_flight()) as server:
        blocker = await _stream(server, frame(0, pixels(1)), frame(1, pixels(2)))
        await server.received(2)
        leader = await _stream(server, frame(0, pixels(7)))
        await server.received(3)
        followers = [await _stream(server, frame(0, pixels(7))) for _ in range(2)]
        await server.received(5)
        leader.cancel()
        await until(lambda: server.finished()["cancelled", ""] == 1)
        server.device.turnstile.admit(8)
        results = [await next_result(call) for call in followers]
        assert server.device.computed == [1, 2, 7]
        assert sorted(result.source for result in results if result) == [_COMPUTED, _SHARED]
        for call in (blocker, *followers):
            call.cancel()


async def test_a_leader_that_is_superseded_is_followed_by_another() -> None:
    """A live stream gives its frame up for a newer one; who waited for the same image is not given up with it."""
    async with gated(sharing=_single_flight()) as server:
        live = await _stream(server, frame(0, pixels(1)), overload_policy=_LATEST_ONLY)
        await server.received(1)
        await live.write(frame(1, pixels(7)))
        await server.received(2)
        follower = await _stream(server, frame(0, pixels(7)))
        await server.received(3)
        await live.write(frame(2, pixels(9)))
        await server.received(4)
        server.device.turnstile.admit(8)
        result = await next_result(follower)
        assert result
        assert result.source == _COMPUTED
        assert sorted(server.device.computed) == [1, 7, 9]
        live.cancel()
        follower.cancel()


async def test_a_follower_keeps_its_own_deadline() -> None:
    """The same image takes too long for one stream: that frame is dropped, the one without a deadline is answered."""
    async with gated(sharing=_single_flight()) as server:
        leader = await _stream(server, frame(0, pixels(7)))
        await server.received(1)
        options = feature_service_pb2.StreamOptions()
        options.frame_deadline.FromMilliseconds(50)
        hurried = server.stub.StreamFeatures()
        await hurried.write(feature_service_pb2.StreamFeaturesRequest(options=options))
        await hurried.write(frame(0, pixels(7)))
        late = await next_result(hurried)
        assert late
        assert late.dropped.reason == feature_service_pb2.DROP_REASON_DEADLINE
        server.device.turnstile.admit()
        result = await next_result(leader)
        assert result
        assert result.HasField("features")
        leader.cancel()
        hurried.cancel()


async def test_an_urgent_stream_does_not_wait_for_a_slow_one() -> None:
    """Whoever has the greater share goes its own way: a LOW stream's turn may be far off."""
    async with gated(sharing=_single_flight()) as server:
        low = await _stream(server, frame(0, pixels(7)), priority=feature_service_pb2.PRIORITY_LOW)
        await server.received(1)
        high = await _stream(server, frame(0, pixels(7)), priority=feature_service_pb2.PRIORITY_HIGH)
        await server.received(2)
        # A third one joins the faster of the two.
        normal = await _stream(server, frame(0, pixels(7)))
        await server.received(3)
        server.device.turnstile.admit(8)
        results = [await next_result(call) for call in (low, high, normal)]
        assert [result.source for result in results if result] == [_COMPUTED, _COMPUTED, _SHARED]
        for call in (low, high, normal):
            call.cancel()


async def test_a_bad_image_is_bad_for_everyone() -> None:
    """The same file that is no picture, in one call: every image has the error, none is decoded in vain twice."""
    async with running(single_flight=True) as app, connected(app) as stub:
        images = [image_pb2.Image(encoded=png(2, 2)[:-9])] * 8
        response = await stub.ExtractFeatures(feature_service_pb2.ExtractFeaturesRequest(images=images))
        assert {result.error.reason for result in response.results} == {feature_pb2.ERROR_REASON_INVALID_IMAGE}
        assert len({result.error.message for result in response.results}) == 1


async def test_images_that_wait_for_the_same_hold_bounded_memory() -> None:
    """Leader and followers keep their bytes: with room for three, the fourth goes its own way."""
    async with gated(sharing=_single_flight(3 * 32 * 32 * 3)) as server:
        calls = [await _stream(server, frame(0, pixels(7))) for _ in range(4)]
        await server.received(4)
        assert server.path.slots.in_use == 2
        server.device.turnstile.admit(8)
        results = [await next_result(call) for call in calls]
        assert sorted(result.source for result in results if result) == [_COMPUTED, _COMPUTED, _SHARED, _SHARED]
        for call in calls:
            call.cancel()


async def test_recent_results_are_kept_if_wanted_and_told_as_such() -> None:
    """With a cache, an image that comes again later costs no device time; results and metrics say so."""
    async with running(cache_bytes=2**20) as app, connected(app) as stub:
        request = feature_service_pb2.ExtractFeaturesRequest(images=[pixels(3)])
        first = (await stub.ExtractFeatures(request)).results[0]
        again = (await stub.ExtractFeatures(request)).results[0]
        assert (first.source, again.source) == (_COMPUTED, _CACHED)
        assert first.features == again.features
        assert metric(app, "nasfeat_batch_size_sum", device="cpu:0") == 1
        assert metric(app, "nasfeat_results_total", source="cached") == 1
        assert metric(app, "nasfeat_cache_bytes") == 768 * 4


async def test_the_cache_keeps_within_its_bytes() -> None:
    """With room for three results, the one that was not used for the longest time makes way."""
    cache: LRUCache[Key, bytes] = LRUCache(3 * 768 * 4, getsizeof=len)
    async with gated(sharing=Sharing(cache=cache, max_bytes=0)) as server:
        server.device.turnstile.admit(100)
        call = await _stream(server)
        for number, image in enumerate([1, 2, 3, 1, 4, 1, 2]):
            await call.write(frame(number, pixels(image)))
            await next_result(call)
            assert cache.currsize <= 3 * 768 * 4
        assert server.device.computed == [1, 2, 3, 4, 2]
        call.cancel()


@pytest.mark.parametrize("count", [1, 50])
async def test_a_result_larger_than_the_cache_is_not_kept(count: int) -> None:
    """It is answered as ever."""
    sharing = Sharing(cache=LRUCache(100, getsizeof=len), max_bytes=0)
    async with gated(sharing=sharing) as server:
        server.device.turnstile.admit(count)
        call = await _stream(server, *(frame(number, pixels(7)) for number in range(count)))
        results = [await next_result(call) for _ in range(count)]
        assert {result.source for result in results if result} == {_COMPUTED}
        call.cancel()
    await asyncio.sleep(0)
