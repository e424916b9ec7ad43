"""Streams of the asynchronous client: order, window, failures alone and together."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest

from nasfeat_client import (
    AsyncFeatureClient,
    ClientConfig,
    DeliveryOrder,
    DropReason,
    ErrorReason,
    ExecutionFailedError,
    Frame,
    FrameDroppedError,
    FrameError,
    InvalidImageError,
    OverloadedError,
    OverloadPolicy,
    Priority,
    ResumeConfig,
    ServerUnavailableError,
    StreamOptions,
    UnexpectedReplyError,
)
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Refusal, Script, fake_vector

PICTURES = [f"picture {number}".encode() for number in range(50)]


async def test_many_images_give_as_many_vectors_in_order(client: AsyncFeatureClient) -> None:
    """Each result is that of the image at its place, whatever the window."""
    results = [result async for result in client.extract_many(PICTURES)]
    assert [result.frame_id for result in results] == list(range(50))
    for picture, result in zip(PICTURES, results, strict=True):
        np.testing.assert_array_equal(result.vector, fake_vector(picture))
        assert result.identity == FAKE_MODEL.identity


async def test_an_empty_stream_ends(client: AsyncFeatureClient) -> None:
    """No images, no results."""
    assert [result async for result in client.extract_many([])] == []


async def test_frames_keep_their_ids_and_times(client: AsyncFeatureClient) -> None:
    """Ids chosen by the caller and capture times come back; ids not chosen count on."""
    taken_at = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
    frames: list[Frame | bytes] = [Frame(b"a", frame_id=7, capture_time=taken_at), Frame(b"b"), b"c"]
    results = [result async for result in client.stream(frames)]
    assert [(result.frame_id, result.capture_time) for result in results] == [(7, taken_at), (8, None), (9, None)]


async def test_ids_must_increase(client: AsyncFeatureClient) -> None:
    """An id that does not raises ValueError, after the results of the frames before."""
    results = client.stream([Frame(b"a", frame_id=3), Frame(b"b", frame_id=3)])
    assert (await anext(results)).frame_id == 3
    with pytest.raises(ValueError, match="frame id 3 came after 3"):
        await anext(results)


async def test_options_reach_the_server(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """Every option is on the wire."""
    options = StreamOptions(
        outputs=("global_pool", "Logits"),
        top_k=3,
        delivery_order=DeliveryOrder.AS_COMPLETED,
        overload_policy=OverloadPolicy.LATEST_ONLY,
        priority=Priority.HIGH,
        window=3,
        frame_deadline_s=0.25,
    )
    assert [result async for result in client.stream([], options)] == []
    sent = server.seen.options[0]
    assert (list(sent.outputs), sent.top_k) == (["global_pool", "Logits"], 3)
    assert sent.delivery_order == DeliveryOrder.AS_COMPLETED.value
    assert sent.overload_policy == OverloadPolicy.LATEST_ONLY.value
    assert sent.priority == Priority.HIGH.value
    assert sent.window == 3
    assert sent.frame_deadline.ToTimedelta().total_seconds() == 0.25


async def test_the_window_bounds_what_an_endless_source_costs(server: FakeFeatureServer) -> None:
    """Neither a server that does not answer nor a caller that does not take makes the SDK read ahead of the window."""
    gate = asyncio.Event()
    server.script = Script(gates={5: gate})
    pulled = 0

    def endless() -> Iterator[bytes]:
        nonlocal pulled
        for pulled in itertools.count(1):  # noqa: B007 - counted for the test
            yield b"picture"

    async with AsyncFeatureClient(server.target, config=ClientConfig(window=4)) as client:
        results = client.stream(endless())
        for expected in range(5):
            assert (await anext(results)).frame_id == expected
        await server.seen.frames(9)
        gate.set()
        for expected in range(5, 100):
            assert (await anext(results)).frame_id == expected
            assert pulled <= expected + 5
        await results.aclose()
    assert server.seen.most_in_flight <= 4


async def test_results_may_come_as_they_are_ready(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """AS_COMPLETED does not wait for a slow frame."""
    gate = asyncio.Event()
    server.script = Script(gates={0: gate})
    results = client.stream(PICTURES[:3], StreamOptions(delivery_order=DeliveryOrder.AS_COMPLETED))
    assert {(await anext(results)).frame_id, (await anext(results)).frame_id} == {1, 2}
    gate.set()
    assert (await anext(results)).frame_id == 0


async def test_a_bad_file_fails_alone_and_in_its_place(
    server: FakeFeatureServer, client: AsyncFeatureClient, tmp_path: Path
) -> None:
    """A path that cannot be read is its own result's error, at the start, between others and at the end."""
    images: list[bytes | Path] = [tmp_path / "none", b"a", tmp_path, b"b", tmp_path / "none"]
    results = [result async for result in client.extract_many(images)]
    assert [result.ok for result in results] == [False, True, False, True, False]
    assert server.seen.frame_ids == [1, 3]
    assert results[0].error == FrameError(
        reason=ErrorReason.INVALID_IMAGE, message=f"cannot read {tmp_path}/none: No such file or directory"
    )
    assert results[0].identity == FAKE_MODEL.identity
    with pytest.raises(InvalidImageError, match="No such file"):
        _ = results[0].vector


async def test_failed_and_dropped_frames_are_results(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """They say why, raise it when asked for a vector, and the stream goes on."""
    failure = FrameError(reason=ErrorReason.EXECUTION_FAILED, message="the engine failed")
    server.script = Script(failures={1: failure}, drops={2: DropReason.SUPERSEDED})
    good, failed, dropped, last = [result async for result in client.stream(PICTURES[:4])]
    assert good.ok
    assert last.ok
    assert (failed.ok, failed.error, failed.dropped) == (False, failure, None)
    assert (dropped.ok, dropped.error, dropped.dropped) == (False, None, DropReason.SUPERSEDED)
    with pytest.raises(ExecutionFailedError, match="the engine failed"):
        failed.raise_for_error()
    with pytest.raises(FrameDroppedError, match="SUPERSEDED"):
        _ = dropped.vector


async def test_a_server_that_dies_is_unavailable(server: FakeFeatureServer) -> None:
    """Results given before are good; then the stream raises and names the server, if it is not to be resumed."""
    server.script = Script(gates={2: asyncio.Event()})
    config = ClientConfig(resume=ResumeConfig(give_up_after_s=0))
    async with AsyncFeatureClient(server.target, config=config) as client:
        results = client.stream(PICTURES)
        assert (await anext(results)).ok
        assert (await anext(results)).ok
        await server.stop()
        with pytest.raises(ServerUnavailableError, match=server.target):
            await anext(results)
        assert results.resumptions == 0


async def test_the_status_that_ends_a_stream_is_raised(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """After the results that came before."""
    ending = Refusal(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="no slots", retry_after_s=2)
    # Ends when no frame is being sent: otherwise gRPC forgets the status.
    gate = asyncio.Event()
    server.script = Script(gates={0: gate}, results_before_end=3, ending=ending)
    results = client.stream(PICTURES[:5])
    first = asyncio.ensure_future(anext(results))
    await server.seen.frames(5)
    gate.set()
    assert (await first).ok
    for _ in range(2):
        assert (await anext(results)).ok
    with pytest.raises(OverloadedError, match="no slots") as caught:
        await anext(results)
    assert caught.value.retry_after_s == 2


async def test_a_refused_stream_raises(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """The status that refuses the options is raised at the first result."""
    server.script = Script(refusal=Refusal(code=grpc.StatusCode.UNAVAILABLE, message="stopping"))
    with pytest.raises(ServerUnavailableError, match="stopping"):
        await anext(client.stream(PICTURES))


async def test_no_frame_vanishes_silently(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """A stream that ends without an error but with frames unanswered is an error."""
    gate = asyncio.Event()
    server.script = Script(gates={0: gate}, results_before_end=1)
    results = client.stream(PICTURES[:3])
    first = asyncio.ensure_future(anext(results))
    await server.seen.frames(3)
    gate.set()
    assert (await first).ok
    with pytest.raises(UnexpectedReplyError, match="2 frames unanswered"):
        await anext(results)


async def test_what_the_source_raises_comes_after_the_results_before(client: AsyncFeatureClient) -> None:
    """The frames that a failing iterable gave are answered, then its own exception is raised."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"
        raise OSError("camera unplugged")

    results = client.stream(failing())
    assert (await anext(results)).ok
    assert (await anext(results)).ok
    with pytest.raises(OSError, match="camera unplugged"):
        await anext(results)


async def test_what_is_no_image_is_the_callers_mistake(client: AsyncFeatureClient) -> None:
    """It raises TypeError out of the stream: no such frame could ever work."""
    with pytest.raises(TypeError, match="int is no image"):
        await anext(client.stream([3]))  # type: ignore[list-item]


async def test_many_images_may_be_answered_as_completed(client: AsyncFeatureClient, server: FakeFeatureServer) -> None:
    """One that takes long does not hold up the others; the ids tell which is which."""
    gate = asyncio.Event()
    server.script = Script(gates={0: gate})
    ids = []
    async for result in client.extract_many([b"slow", b"a", b"b"], ordered=False):
        ids.append(result.frame_id)
        if len(ids) == 2:
            gate.set()
    assert ids == [1, 2, 0]
