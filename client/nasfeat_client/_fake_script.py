"""What a fake server is told to do, and what it was sent."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from nasfeat.v1 import feature_service_pb2
from nasfeat_client.result import FrameError
from nasfeat_client.types import DropReason, ModelInfo, ResultSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call's failure.

    Attributes:
        code: the gRPC status code.
        message: its details.
        retry_after_s: when to come again, sent as `grpc-retry-pushback-ms`.
    """

    code: grpc.StatusCode
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a fake server does other than answer at once with features.

    Attributes:
        failures: the frames that fail, by id; an image of a unary call has its index for an id.
        drops: the frames that are dropped.
        gates: frames that are answered only once their event is set.
        sources: where the features of a frame come from; a frame that is not here was computed.
        windows: a stream's new window, told before the result of a frame.
        refusal: fails every call.
        refused_calls: how many calls it fails; None means every one.
        results_before_end: a stream ends after so many results.
        ending: how it ends then; None means without an error.
    """

    failures: Mapping[int, FrameError] = field(default_factory=dict)
    drops: Mapping[int, DropReason] = field(default_factory=dict)
    gates: Mapping[int, asyncio.Event] = field(default_factory=dict)
    sources: Mapping[int, ResultSource] = field(default_factory=dict)
    windows: Mapping[int, int] = field(default_factory=dict)
    refusal: Refusal | None = None
    refused_calls: int | None = None
    results_before_end: int | None = None
    ending: Refusal | None = None


class Seen:
    """What a fake server was sent.

    Attributes:
        frame_ids: the ids of all frames of all streams, as they came.
        options: the options of all streams, as they came.
        frames_per_message: the frames that each message of all streams held, as they came.
        most_in_flight: the most frames that one stream had sent without an answer.
        refused_calls: the calls that the script's refusal failed.
    """

    def __init__(self) -> None:
        self.frame_ids: list[int] = []
        self.options: list[feature_service_pb2.StreamOptions] = []
        self.frames_per_message: list[int] = []
        self.most_in_flight = 0
        self.refused_calls = 0
        self._open_streams = 0
        self._no_streams = asyncio.Event()
        self._no_streams.set()
        self._arrival = asyncio.Event()

    async def frames(self, count: int) -> None:
        """Wait until `count` frames have come."""
        while len(self.frame_ids) < count:
            self._arrival.clear()
            await self._arrival.wait()

    def add_frame(self, frame_id: int, in_flight: int) -> None:
        """Count a frame of a stream that has now `in_flight` without an answer."""
        self.frame_ids.append(frame_id)
        self.most_in_flight = max(self.most_in_flight, in_flight)
        self._arrival.set()

    async def streams_closed(self) -> None:
        """Wait until no stream is open."""
        await self._no_streams.wait()

    @contextmanager
    def stream(self, options: feature_service_pb2.StreamOptions) -> Iterator[None]:
        """Count a stream as open."""
        self.options.append(options)
        self._open_streams += 1
        self._no_streams.clear()
        try:
            yield
        finally:
            self._open_streams -= 1
            if not self._open_streams:
                self._no_streams.set()


@dataclass(slots=True, kw_only=True)
class Served:
    """What a fake server goes by; the test that runs it may change it."""

    model: ModelInfo
    script: Script
    seen: Seen
