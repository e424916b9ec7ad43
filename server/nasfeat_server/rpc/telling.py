"""What observers are told of an image whose life has ended."""

from collections.abc import Mapping
from dataclasses import dataclass

from nasfeat_server.errors import NasfeatError
from nasfeat_server.rpc.job import FrameJob, error_name
from nasfeat_server.telemetry.events import FrameFinished, ModelLabel, Outcome, Refused, Source, Stage
from nasfeat_server.telemetry.traces import ImageTrace, Traced


@dataclass(slots=True, kw_only=True)
class Standing:
    """What the version of the model is to the server now; it changes while frames are on their way.

    Attributes:
        version: the operator's name for it, which stays.
    """

    label: ModelLabel = ModelLabel.STABLE
    version: str = ""


def finished(
    job: FrameJob, outcome: Outcome, reason: str, *, standing: Standing, owner: str, sent_at: float | None
) -> FrameFinished:
    """Tell how the life of a `job` of `owner` ended; `sent_at` is when its answer was sent, in seconds since 1970."""
    captured, age_s = job.capture_time, None
    if captured and sent_at is not None and outcome is Outcome.OK:
        age_s = sent_at - captured.seconds - captured.nanos * 1e-9
    return FrameFinished(
        outcome=outcome,
        reason=reason,
        stages_s=job.stages_s,
        source=job.source if outcome is Outcome.OK else None,
        label=standing.label,
        age_s=age_s,
        trace=_trace(job, job.traced, standing.version, owner) if job.traced else None,
    )


def refused(job: FrameJob, error: NasfeatError, tenant: str) -> Refused:
    """Tell of `error`, with which the image of `tenant` was answered."""
    return Refused(
        method=job.method,
        reason=error_name(error),
        message=str(error),
        stream_id=job.stream_id,
        frame_id=job.frame_id,
        tenant=tenant,
        traced=job.traced,
    )


def _trace(job: FrameJob, traced: Traced, version: str, owner: str) -> ImageTrace:
    execution = job.work.done.result() if job.work and job.source is Source.COMPUTED else None
    return ImageTrace(
        traced=traced,
        stream_id=job.stream_id,
        frame_id=job.frame_id,
        tenant=owner,
        version=version,
        begun_at=_begun_at(job),
        device=execution.device if execution else "",
        batch_size=execution.batch_size if execution else 0,
        message=str(job.error) if job.error else "",
    )


def _begun_at(job: FrameJob) -> Mapping[str, float]:
    """Tell when each stage began: durations alone are kept of every image, and stages follow each other."""
    admitted_at = job.arrived_at + job.stages_s.get(Stage.RECEIVE, 0.0)
    # One that waited for the same image, which is its queue, has done so since it came.
    queued_at = job.work.queued_at if job.work else job.arrived_at
    return {
        Stage.RECEIVE: job.arrived_at,
        Stage.DECODE: admitted_at,
        Stage.QUEUE: queued_at,
        Stage.EXECUTE: queued_at + job.stages_s.get(Stage.QUEUE, 0.0),
        Stage.REPLY: job.answered_at,
    }
