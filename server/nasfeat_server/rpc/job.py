"""One image of one call: what is known of it, what it owns, and the message that answers it."""

import asyncio
import time
from concurrent.futures import Future
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from nasfeat.v1 import feature_pb2, feature_service_pb2, image_pb2
from nasfeat_server.errors import DeadlinePassedError, NasfeatError
from nasfeat_server.imaging.types import RawPixels
from nasfeat_server.rpc.outputs import Selection, pack_features
from nasfeat_server.rpc.status import retry_after_s, status_of
from nasfeat_server.scheduling.sharing import Flight, Key
from nasfeat_server.scheduling.work import Work
from nasfeat_server.telemetry.events import Outcome, Source, Stage
from nasfeat_server.telemetry.traces import Traced

_TIMINGS = {stage: f"{stage}_s" for stage in Stage}
_SOURCES = {source: feature_service_pb2.ResultSource.Value(f"RESULT_SOURCE_{source.name}") for source in Source}


class FrameJob:
    """One image of one call, with everything that is known and owned on its behalf.

    Attributes:
        content: the image as it came, until it is decoded.
        selection: what is wanted of it.
        deadline: on the monotonic clock; None for never.
        answered: done when there is an answer: `results`, `error` or `superseded`.
        results: the outputs wanted, float32 little-endian, when all went well.
        source: where `results` come from.
        error: the answer when not.
        superseded: a newer frame took its place.
        stages_s: seconds spent in each stage so far.
        leading: others may wait for this image under `key`.
        following: the same image is on its way, and this one waits for it.
        method: of the call that brought it.
        stream_id: the name of its stream; "" outside of one.
        traceparent: what its client says of a trace that it belongs to; "" for nothing.
        traced: None if it is not.
    """

    def __init__(
        self,
        *,
        frame_id: int,
        capture_time: Timestamp | None,
        image: image_pb2.Image | bytes | RawPixels,
        pixels: memoryview | None = None,
        lane: int,
        weight: float,
        selection: Selection,
        deadline: float | None,
    ) -> None:
        """Note the arrival."""
        self.frame_id = frame_id
        # A copy, since any part of a message keeps all of its memory, the image's too.
        self.capture_time = Timestamp(seconds=capture_time.seconds, nanos=capture_time.nanos) if capture_time else None
        # Read once, in `FramePath.receive`: each reading of a message's bytes copies them.
        self.image = image if isinstance(image, image_pb2.Image) else None
        # Those of a raw image, if they are not in the message.
        self.pixels = pixels
        self.content = None if isinstance(image, image_pb2.Image) else image
        self.method = "ExtractFeatures"
        self.stream_id = ""
        self.traceparent = ""
        self.traced: Traced | None = None
        self.lane = lane
        self.weight = weight
        self.selection = selection
        self.deadline = deadline
        self.arrived_at = time.monotonic()
        self.stages_s: dict[Stage, float] = {}
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.results: bytes | None = None
        self.source: Source | None = None
        self.error: NasfeatError | None = None
        self.superseded = False
        self.answered_at = 0.0
        self.slot: int | None = None
        self.decoding: Future[None] | None = None
        self.work: Work | None = None
        self.has_room = False
        self.under_way = False
        self.key: Key | None = None
        self.leading: Flight | None = None
        self.following: Flight | None = None
        self.following_bytes = 0

    @property
    def outcome(self) -> tuple[Outcome, str]:
        """How it was answered, and why, in the words of the metrics."""
        if self.superseded:
            return Outcome.DROPPED, "Superseded"
        if self.error:
            return status_of(self.error).outcome, error_name(self.error)
        return Outcome.OK, ""


def error_name(error: NasfeatError) -> str:
    """Give the name that an error has in metrics and logs."""
    return type(error).__name__.removesuffix("Error")


def write_result(result: feature_service_pb2.FrameResult, job: FrameJob) -> None:
    """Write the one answer to `job`, which has been answered, to where it will be sent from."""
    result.frame_id = job.frame_id
    if job.capture_time:
        result.capture_time.CopyFrom(job.capture_time)
    result.timings.SetInParent()
    for stage, seconds in job.stages_s.items():
        setattr(result.timings, _TIMINGS[stage], seconds)
    if job.superseded:
        result.dropped.reason = feature_service_pb2.DROP_REASON_SUPERSEDED
    elif isinstance(job.error, DeadlinePassedError):
        result.dropped.reason = feature_service_pb2.DROP_REASON_DEADLINE
    elif job.error is not None:
        _write_error(result.error, job.error)
    elif job.results is not None and job.source:
        pack_features(result.features, job.selection, job.results)
        result.source = _SOURCES[job.source]


def _write_error(message: feature_pb2.FrameError, error: NasfeatError) -> None:
    status = status_of(error)
    message.reason = status.reason
    message.message = str(error)
    message.code = status.code.value[0]
    after_s = retry_after_s(error)
    if after_s is not None:
        message.retry_after.FromTimedelta(timedelta(seconds=after_s))
