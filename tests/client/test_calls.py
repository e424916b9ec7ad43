"""Unary calls of the asynchronous client."""

import asyncio
import dataclasses

import grpc
import numpy as np
import pytest

from nasfeat_client import (
    AsyncFeatureClient,
    ClientConfig,
    DeadlinePassedError,
    ErrorReason,
    FrameError,
    InvalidImageError,
    KeepaliveConfig,
    ModelNotFoundError,
    OverloadedError,
    ServerUnavailableError,
)
from nasfeat_client.testing import FAKE_MODEL, FakeFeatureServer, Refusal, Script, fake_vector


async def test_extract_gives_the_vector_and_says_who_made_it(client: AsyncFeatureClient) -> None:
    """A result carries the vector as a read-only float32 array, the identity and the timings."""
    result = await client.extract(b"picture")
    assert result.ok
    assert result.vector.dtype == np.float32
    np.testing.assert_array_equal(result.vector, fake_vector(b"picture"))
    assert not result.vector.flags.writeable
    assert result.identity == FAKE_MODEL.identity
    assert result.timings.execute_s > 0


async def test_extract_raises_what_befell_its_image(server: FakeFeatureServer, client: AsyncFeatureClient) -> None:
    """The error of the only image is the call's."""
    server.script = Script(failures={0: FrameError(reason=ErrorReason.INVALID_IMAGE, message="no picture")})
    with pytest.raises(InvalidImageError, match="no picture"):
        await client.extract(b"text")


async def test_models(client: AsyncFeatureClient) -> None:
    """A model is described in full, by name, by default and in the list."""
    assert await client.model() == await client.model("fake") == FAKE_MODEL
    assert await client.models() == (FAKE_MODEL,)
    with pytest.raises(ModelNotFoundError, match="'vgg'"):
        await client.model("vgg")


async def test_an_overloaded_server_says_when_to_come_again(
    server: FakeFeatureServer, client: AsyncFeatureClient
) -> None:
    """The pushback of the trailing metadata is the error's `retry_after_s`."""
    full = Refusal(code=grpc.StatusCode.RESOURCE_EXHAUSTED, message="full", retry_after_s=1.5)
    server.script = Script(refusal=full)
    with pytest.raises(OverloadedError, match="full") as caught:
        await client.extract(b"picture")
    assert caught.value.retry_after_s == 1.5
    server.script = Script(refusal=dataclasses.replace(full, retry_after_s=None))
    with pytest.raises(OverloadedError) as caught:
        await client.extract(b"picture")
    assert caught.value.retry_after_s is None


async def test_a_call_ends_at_its_timeout(server: FakeFeatureServer) -> None:
    """A server that does not answer costs the timeout and raises DeadlinePassedError."""
    server.script = Script(gates={0: asyncio.Event()})
    async with AsyncFeatureClient(server.target, config=ClientConfig(call_timeout_s=0.05)) as hasty:
        with pytest.raises(DeadlinePassedError, match=server.target):
            await hasty.extract(b"picture")


async def test_an_unreachable_server_is_named(server: FakeFeatureServer) -> None:
    """Calls and streams to a port where nobody listens say which it was."""
    await server.stop()
    async with AsyncFeatureClient(server.target) as client:
        with pytest.raises(ServerUnavailableError, match=server.target):
            await client.model()
        with pytest.raises(ServerUnavailableError, match=server.target):
            await anext(client.stream([b"picture"]))


async def test_64_mib_pass_both_ways() -> None:
    """The default configuration takes images and vectors of 64 MiB."""
    model = dataclasses.replace(FAKE_MODEL, feature_length=16 * 2**20)
    async with FakeFeatureServer(model=model) as server, AsyncFeatureClient(server.target) as client:
        result = await client.extract(bytes(64 * 2**20))
        assert result.vector.nbytes == 64 * 2**20


async def test_an_image_too_large_for_a_message_fails_before_it_is_sent(client: AsyncFeatureClient) -> None:
    """The error has both numbers, and is no OverloadedError, which would invite a retry."""
    with pytest.raises(InvalidImageError, match=r"6920602\d bytes.* room for 68156416"):
        await client.extract(bytes(66 * 2**20))


async def test_a_closed_client_says_so(server: FakeFeatureServer) -> None:
    """Calls after close, and calls under way when another task closes, raise RuntimeError; closing twice is fine."""
    server.script = Script(gates={0: asyncio.Event()})
    client = AsyncFeatureClient(server.target)
    await client.model()
    waiting = asyncio.create_task(client.extract(b"picture"))
    results = client.stream([b"picture"])
    streaming = asyncio.ensure_future(anext(results))
    await server.seen.frames(1)
    await client.close()
    await client.close()
    for task in (waiting, streaming):
        with pytest.raises(RuntimeError, match="closed"):
            await task
    with pytest.raises(RuntimeError, match="closed"):
        await client.model()


def test_pings_that_servers_punish_are_refused() -> None:
    """Keepalive is bounded below at 30 seconds."""
    with pytest.raises(ValueError, match="30 or more"):
        KeepaliveConfig(interval_s=5)
