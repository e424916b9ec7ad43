"""A load that brings every metric about, made of the SDK, on 127.0.0.1 and for a bounded time."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np
from tests.observe.credentials import ARCHIVE, CAMERAS, Credentials

from nasfeat_client import (
    AsyncFeatureClient,
    Frame,
    Image,
    NasfeatError,
    OverloadPolicy,
    Priority,
    StreamOptions,
)
from nasfeat_server.engine.engines.fake import FAILING_PIXEL

SIZE = 32
_FRAMES_OF_A_STREAM = 120
_PAUSE_S = 0.03


def new_pictures() -> Iterator[Image]:
    """Give pictures of which no two are the same."""
    draw = np.random.default_rng()
    while True:
        pixels = draw.integers(0, 250, (SIZE, SIZE, 3), np.uint8)
        yield pixels


def same_picture() -> Iterator[Image]:
    """Give one picture over and over: computed once, shared while it is under way, then cached."""
    return itertools.repeat(np.zeros((SIZE, SIZE, 3), np.uint8))


def broken_pictures() -> Iterator[Image]:
    """Give good ones and ones that cannot be decoded by turns."""
    return (image for pair in zip(new_pictures(), itertools.repeat(b"no picture"), strict=False) for image in pair)


def failing_pictures() -> Iterator[Image]:
    """Give good ones, and now and then one on which the engine fails."""
    failing = np.zeros((SIZE, SIZE, 3), np.uint8)
    failing[0, 0] = FAILING_PIXEL
    return (failing if number % 20 == 10 else picture for number, picture in enumerate(new_pictures()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of stream, opened over and over: its options, its pictures, and the seconds between them."""

    options: StreamOptions
    pictures: Callable[[], Iterator[Image]] = new_pictures
    pause_s: float = _PAUSE_S


SOURCES = (
    Source(options=StreamOptions(stream_id=ARCHIVE, priority=Priority.LOW)),
    Source(options=StreamOptions(stream_id="newest", overload_policy=OverloadPolicy.DROP_OLDEST, backlog=2)),
    Source(options=StreamOptions(stream_id="gate", overload_policy=OverloadPolicy.LATEST_ONLY, priority=Priority.HIGH)),
    Source(options=StreamOptions(stream_id="choosy", overload_policy=OverloadPolicy.REJECT, backlog=1), pause_s=0.01),
    Source(options=StreamOptions(stream_id="hurried", frame_deadline_s=0.12)),
    Source(options=StreamOptions(stream_id="still"), pictures=same_picture),
    Source(options=StreamOptions(stream_id="spoiled"), pictures=broken_pictures),
    Source(options=StreamOptions(stream_id="cursed"), pictures=failing_pictures),
)


class Load:
    """Streams and calls of every kind, until the time is up.

    Args:
        address: the server's.
        credentials: what it asks for.
        seconds: how long new ones are begun.
    """

    def __init__(self, address: str, credentials: Credentials, seconds: float) -> None:
        self._address = address
        self._credentials = credentials
        self._seconds = seconds
        self._until = 0.0
        self.results = 0

    async def run(self) -> None:
        """Run it."""
        self._until = time.monotonic() + self._seconds
        tokens = self._credentials.tokens
        async with (
            self._client(tokens[CAMERAS]) as client,
            self._client(tokens[ARCHIVE]) as archive,
            self._client(None) as stranger,
            asyncio.TaskGroup() as tasks,
        ):
            for source in SOURCES:
                tenant = archive if source.options.stream_id == ARCHIVE else client
                tasks.create_task(self._repeat(partial(self._stream, tenant, source)))
            for caller in (client, stranger):
                tasks.create_task(self._repeat(partial(self._extract, caller)))
            tasks.create_task(self._repeat(partial(self._give_up, client)))
            tasks.create_task(self._repeat(partial(client.model, "no such model")))

    def _client(self, token: str | None) -> AsyncFeatureClient:
        return AsyncFeatureClient(self._address, config=self._credentials.client(token))

    async def _repeat(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do one piece of work after the other; what the server refuses is part of the load."""
        while time.monotonic() < self._until:
            with contextlib.suppress(NasfeatError, TimeoutError):
                await work()
            await asyncio.sleep(0.05)

    async def _stream(self, client: AsyncFeatureClient, source: Source) -> None:
        async for _ in client.stream(self._camera(source), source.options):
            self.results += 1

    async def _camera(self, source: Source) -> AsyncIterator[Frame]:
        for picture in itertools.islice(source.pictures(), _FRAMES_OF_A_STREAM):
            if time.monotonic() > self._until:
                return
            yield Frame(picture, capture_time=datetime.now(UTC))
            await asyncio.sleep(source.pause_s)

    async def _extract(self, client: AsyncFeatureClient) -> None:
        await client.extract(next(new_pictures()))
        self.results += 1

    async def _give_up(self, client: AsyncFeatureClient) -> None:
        """Call, and hang up before the answer."""
        async with asyncio.timeout(0.02):
            await client.extract(next(new_pictures()))
