"""The window of a stream while it is open: announced, kept, and never taken back from frames already sent."""

import asyncio
from typing import Any

from gated import gated
from nasfeat.v1 import feature_service_pb2
from nasfeat_server.telemetry.events import StreamClosed
from serving import frame, opening, until


async def _read_update(call: Any) -> int:
    """Read up to the next change of the window."""
    while not (reply := await call.read()).HasField("window_update"):
        pass
    size: int = reply.window_update.window
    return size


async def test_a_stream_that_is_not_alone_has_its_part_and_hears_of_more() -> None:
    """Two streams that fill their windows share 16 slots; when one ends, the other is told that it has all."""
    async with gated(slots=16) as server:
        first: Any = server.stub.StreamFeatures()
        await first.write(opening(stream_id="first"))
        granted = (await first.read()).granted
        assert (granted.options.window, granted.options.stream_id) == (16, "first")
        for number in range(16):
            await first.write(frame(number))
        await server.received(16)
        second: Any = server.stub.StreamFeatures()
        await second.write(opening())
        assert (await second.read()).granted.options.window == 8
        # The first fills its window, the second has sent nothing yet.
        server.windows.adjust()
        assert await _read_update(second) == 2
        server.device.turnstile.admit(16)
        # A stream that waits for an answer hears of it with that.
        assert await _read_update(first) == 14
        first.cancel()
        await until(lambda: any(isinstance(event, StreamClosed) for event in server.log.events))
        for number in range(2):
            await second.write(frame(number))
        await server.received(18)
        server.windows.adjust()
        server.device.turnstile.admit(2)
        assert await _read_update(second) == 16
        second.cancel()


async def test_frames_sent_under_the_old_window_are_all_answered() -> None:
    """The window shrinks to two with sixteen frames on their way: none is refused or lost."""
    async with gated(slots=16) as server:
        call: Any = server.stub.StreamFeatures()
        await call.write(opening())
        await call.read()
        for number in range(16):
            await call.write(frame(number))
        await server.received(16)
        others = [server.windows.open(ceiling=32, weight=1.0, announce=lambda _: None) for _ in range(100)]
        server.windows.adjust()
        server.device.turnstile.admit(100)
        replies = [await call.read() for _ in range(17)]
        assert replies[0].window_update.window == 2
        assert [reply.result.frame_id for reply in replies[1:]] == list(range(16))
        for window in others:
            server.windows.close(window)
        call.cancel()


async def test_a_quiet_stream_is_told_too() -> None:
    """A change reaches a stream that has nothing in flight, at once and not with its next result."""
    async with gated(slots=16) as server:
        call: Any = server.stub.StreamFeatures()
        await call.write(opening())
        await call.read()
        server.windows.adjust()
        async with asyncio.timeout(10):
            assert (await call.read()).window_update.window == 2
        call.cancel()


async def test_a_stream_that_would_rather_lose_frames_is_always_read() -> None:
    """Beside a hundred others it keeps its window: a frame that is not read cannot supersede the one that waits."""
    async with gated(slots=16) as server:
        others = [server.windows.open(ceiling=32, weight=1.0, announce=lambda _: None) for _ in range(100)]
        call: Any = server.stub.StreamFeatures()
        await call.write(opening(overload_policy=feature_service_pb2.OVERLOAD_POLICY_LATEST_ONLY))
        assert (await call.read()).granted.options.window == 32
        for number in range(20):
            await call.write(frame(number))
        await server.received(20)
        server.windows.adjust()
        server.device.turnstile.admit(2)
        replies = [await call.read() for _ in range(20)]
        assert [reply.result.frame_id for reply in replies] == list(range(20))
        assert server.device.computed == [0, 19]
        for window in others:
            server.windows.close(window)
        call.cancel()
