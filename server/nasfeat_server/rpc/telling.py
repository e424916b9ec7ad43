"""What observers are told of an image whose life has ended."""

from nasfeat_server.errors import NasfeatError
from nasfeat_server.rpc.job import FrameJob, error_name
from nasfeat_server.telemetry.events import FrameFinished, ModelLabel, Outcome, Refused


def finished(
    job: FrameJob, outcome: Outcome, reason: str, *, label: ModelLabel, sent_at: float | None
) -> FrameFinished:
    """Tell how the life of `job` ended, under the version's `label`; `sent_at` is the time since 1970, if it was."""
    captured, age_s = job.capture_time, None
    if captured and sent_at is not None and outcome is Outcome.OK:
        age_s = sent_at - captured.seconds - captured.nanos * 1e-9
    return FrameFinished(
        outcome=outcome,
        reason=reason,
        stages_s=job.stages_s,
        source=job.source if outcome is Outcome.OK else None,
        label=label,
        age_s=age_s,
    )


def refused(job: FrameJob, error: NasfeatError, tenant: str) -> Refused:
    """Tell of `error`, with which the image of `tenant` was answered."""
    return Refused(
        method="StreamFeatures" if job.stream_id else "ExtractFeatures",
        reason=error_name(error),
        message=str(error),
        stream_id=job.stream_id,
        frame_id=job.frame_id,
        tenant=tenant,
    )
