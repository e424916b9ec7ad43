"""What the server says of a stream beside its results: grant, window, summary, sources; and what it refuses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasfeat_client import (
    AsyncFeatureClient,
    ClientConfig,
    DropReason,
    ErrorReason,
    FeatureClient,
    FrameError,
    InvalidRequestError,
    OverloadedError,
    OverloadPolicy,
    Priority,
    ResultSource,
    RetryConfig,
    StreamOptions,
    StreamSummary,
    UnexpectedReplyError,
)
from nasfeat_client._window import Window
from nasfeat_client.testing import FakeFeatureServer, Refusal, Script

_FULL = Refusal(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="full", retry_after_s=0.05)


async def test_a_stream_tells_what_was_granted(client: AsyncFeatureClient) -> None:
    """Nothing is known before the first result; then the options in force, with the server's choices."""
    options = StreamOptions(
        stream_id="camera 7", overload_policy=OverloadPolicy.DROP_OLDEST, backlog=3, frame_deadline_s=0.5
    )
    stream = client.stream([b"a", b"b"], options)
    assert (stream.grant, stream.window, stream.summary) == (None, None, None)
    result = await anext(stream)
    assert stream.grant
    granted = stream.grant.options
    assert (granted.stream_id, granted.backlog, granted.frame_deadline_s) == ("camera 7", 3, 0.5)
    assert (granted.overload_policy, granted.priority) == (OverloadPolicy.DROP_OLDEST, Priority.NORMAL)
    assert (granted.outputs, granted.window, stream.window) == (("global_pool",), 8, 8)
    assert stream.grant.identity == result.identity
    assert result.stream_id == "camera 7"
    await stream.aclose()


async def test_a_stream_ends_with_a_summary_of_every_frame(
    server: FakeFeatureServer, client: AsyncFeatureClient
) -> None:
    """Features, errors, refusals and drops are counted apart, and they are what the caller saw."""
    server.script = Script(
        failures={
            1: FrameError(reason=ErrorReason.EXECUTION_FAILED, message="no"),
            2: FrameError(reason=ErrorReason.OVERLOADED, message="full", retry_after_s=1.5),
        },
        drops={3: DropReason.SUPERSEDED, 4: DropReason.DEADLINE},
        sources={5: ResultSource.SHARED, 6: ResultSource.CACHED},
    )
    stream = client.stream([str(number).encode() for number in range(10)], StreamOptions(stream_id="s"))
    results = [result async for result in stream]
    assert stream.summary == StreamSummary(
        stream_id="s", received=10, succeeded=6, failed=1, rejected=1, dropped=2, deduplicated=2, duration_s=1.5
    )
    computed, shared, cached = ResultSource.COMPUTED, ResultSource.SHARED, ResultSource.CACHED
    assert [result.source for result in results] == [computed, *[None] * 4, shared, cached, *[computed] * 3]
    with pytest.raises(OverloadedError, match="full") as caught:
        results[2].raise_for_error()
    assert caught.value.retry_after_s == 1.5


def test_the_synchronous_stream_tells_the_same(threaded_server: FakeFeatureServer) -> None:
    """Grant, window and summary are there for programs without asyncio too."""
    with FeatureClient(threaded_server.target) as client, contextlib.closing(client.stream([b"a", b"b"])) as stream:
        assert "not granted" in repr(stream)
        assert len(list(stream)) == 2
        assert stream.grant
        assert stream.window == 8
        assert stream.summary
        assert stream.summary.received == 2
        assert "8 in flight" in repr(stream)


class _Endless:
    """A source that counts what was taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.taken += 1
            yield str(self.taken).encode()


@pytest.mark.parametrize(("window", "expected"), [(8, 8), (2, 2), (20, 20)])
async def test_the_window_is_the_server_s_to_change(
    server: FakeFeatureServer, client: AsyncFeatureClient, window: int, expected: int
) -> None:
    """After an update the SDK keeps as many frames in flight as it says, more or fewer, and no further one."""
    gates = {number: asyncio.Event() for number in range(30, 1000)}
    server.script = Script(windows={10: window}, gates=gates)
    source = _Endless()
    stream = client.stream(source)
    for _ in range(30):
        await anext(stream)
    assert stream.window == expected
    # Frame 30 is held back: the window fills behind it, and what is taken from the source with it.
    waiting = asyncio.ensure_future(anext(stream))
    await server.seen.frames(30 + expected)
    await client.model()
    assert len(server.seen.frame_ids) == source.taken == 30 + expected
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await stream.aclose()


async def test_a_window_of_nothing_is_no_window(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """A server that closes the window has broken the rules: a stream that can never go on says so."""
    server.script = Script(windows={1: 0})
    with pytest.raises(UnexpectedReplyError, match="closed the window"):
        [result async for result in client.stream([b"a", b"b", b"c"])]


@settings(deadline=None)
@given(steps=st.lists(st.one_of(st.just("enter"), st.just("leave"), st.integers(1, 9)), max_size=60))
def test_no_more_than_the_window_are_ever_in_flight(steps: list[str | int]) -> None:
    """Whatever the server announces and whenever frames are answered: a frame enters exactly when there is room."""

    async def check() -> None:
        window, waiting = Window(3), None
        for step in steps:
            before = window.in_flight
            if step == "enter" and waiting is None:
                waiting = asyncio.ensure_future(window.enter())
            elif step == "leave" and window.in_flight:
                window.leave()
                before -= 1
            elif isinstance(step, int):
                window.resize(step)
            for _ in range(3):
                await asyncio.sleep(0)
            entered = window.in_flight > before
            assert not entered or window.in_flight <= window.size
            if waiting:
                assert waiting.done() == entered
                waiting = None if entered else waiting
        if waiting:
            waiting.cancel()

    asyncio.run(check())


@pytest.fixture
async def patient(server: FakeFeatureServer) -> AsyncIterator[AsyncFeatureClient]:
    """Connect a client that tries again soon."""
    config = ClientConfig(retry=RetryConfig(max_attempts=3, first_pause_s=0.01))
    async with AsyncFeatureClient(server.target, config=config) as connected:
        yield connected


async def test_a_stream_that_is_refused_at_first_opens_without_the_caller_s_help(
    server: FakeFeatureServer, patient: AsyncFeatureClient
) -> None:
    """Two refusals with a time to come back, then a grant: every frame is answered, and went out once."""
    server.script = Script(refusal=_FULL, refused_calls=2)
    results = [result async for result in patient.extract_many([b"a", b"b", b"c"])]
    assert len(results) == 3
    assert server.seen.refused_calls == 2
    assert server.seen.frame_ids == [0, 1, 2]


async def test_a_call_that_is_refused_at_first_is_answered(
    server: FakeFeatureServer, patient: AsyncFeatureClient
) -> None:
    """The same for one image; it is kept until it is answered or too often refused."""
    server.script = Script(refusal=_FULL, refused_calls=2)
    assert (await patient.extract(bytes(500_000))).ok
    server.script = Script(refusal=_FULL)
    with pytest.raises(OverloadedError, match="full"):
        await patient.extract(b"a")
    assert server.seen.refused_calls == 2 + 3


async def test_an_image_too_large_to_be_kept_is_sent_once(
    server: FakeFeatureServer, patient: AsyncFeatureClient
) -> None:
    """Thirty MiB are answered as ever; refused, they are not sent again."""
    image = bytes(30 * 2**20)
    assert (await patient.extract(image)).ok
    server.script = Script(refusal=_FULL)
    with pytest.raises(OverloadedError):
        await patient.extract(image)
    assert server.seen.refused_calls == 1


async def test_what_trying_again_cannot_help_is_told_at_once(
    server: FakeFeatureServer, patient: AsyncFeatureClient
) -> None:
    """A wrong request is refused once; a stream that was granted and then fails is not replayed."""
    server.script = Script(refusal=Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, message="wrong"))
    with pytest.raises(InvalidRequestError, match="wrong"):
        await patient.extract(b"a")
    assert server.seen.refused_calls == 1
    server.script = Script(results_before_end=1, ending=_FULL)
    with pytest.raises(OverloadedError):
        [result async for result in patient.extract_many([b"a", b"b"])]
    assert len(server.seen.options) == 1


async def test_retries_can_be_switched_off(server: FakeFeatureServer) -> None:
    """With one attempt the first refusal is the caller's."""
    server.script = Script(refusal=_FULL)
    config = ClientConfig(retry=RetryConfig(max_attempts=1))
    async with AsyncFeatureClient(server.target, config=config) as client:
        with pytest.raises(OverloadedError) as caught:
            await client.extract(b"a")
    assert caught.value.retry_after_s == 0.05
    assert server.seen.refused_calls == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: StreamOptions(stream_id="é" * 65), "stream_id has 130 bytes; 128 are allowed"),
        (lambda: StreamOptions(backlog=0), "backlog is 0; it must be 1 or more"),
        (lambda: RetryConfig(max_attempts=6), "max_attempts is 6; it must be 1 to 5"),
    ],
)
def test_options_that_cannot_be_are_refused_where_they_are_made(wrong: object, message: str) -> None:
    """The number and what is allowed."""
    assert callable(wrong)
    with pytest.raises(ValueError, match=message):
        wrong()
