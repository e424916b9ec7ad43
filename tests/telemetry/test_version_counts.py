"""What a version of the model has done is counted by itself."""

from eventlog import EventLog
from nasfeat_server.telemetry.events import BatchFinished, FrameFinished, FrameReceived, Outcome, Source, Stage
from nasfeat_server.telemetry.version_counts import VersionCounter, VersionCounts


def _finished(outcome: Outcome, source: Source | None = None, **stages: float) -> FrameFinished:
    times = {Stage(name): seconds for name, seconds in stages.items()}
    return FrameFinished(outcome=outcome, reason="", stages_s=times, source=source)


def test_images_and_batches_are_counted_and_everything_is_passed_on() -> None:
    """Times are of images with features; one that nobody waited for has not failed."""
    log = EventLog()
    counts = VersionCounts()
    counter = VersionCounter(counts=counts, observer=log)
    events = [
        FrameReceived(),
        _finished(Outcome.OK, Source.COMPUTED, queue=1.0, execute=2.0),
        _finished(Outcome.OK, Source.CACHED, decode=0.5),
        _finished(Outcome.INVALID, decode=0.25),
        _finished(Outcome.EXPIRED),
        _finished(Outcome.CANCELLED),
        BatchFinished(device="cpu:0", size=4, limit=4, close_reason="full", busy_s=2.0),
        BatchFinished(device="cpu:0", size=4, limit=4, close_reason="full", busy_s=1.0),
    ]
    for event in events:
        counter.observe(event)
    assert log.events == events
    assert (counts.success.count, counts.success.seconds) == (2, 3.5)
    assert (counts.fail.count, counts.fail.seconds) == (2, 0.25)
    assert (counts.cached.count, counts.stages[Stage.EXECUTE].seconds) == (1, 2.0)
    assert {size: (batch.count, batch.seconds) for size, batch in counts.batches.items()} == {4: (2, 3.0)}
    assert counts.last_at > 0


def test_what_another_process_counts_is_added() -> None:
    """It gives what is new each time, and all of it together is as if one had counted; who is told shows the same."""
    events = [
        _finished(Outcome.OK, Source.COMPUTED, execute=2.0),
        _finished(Outcome.INVALID, decode=0.25),
        BatchFinished(device="cpu:0", size=4, limit=4, close_reason="full", busy_s=2.0),
    ]
    alone = VersionCounter(counts=VersionCounts(), observer=EventLog())
    elsewhere = VersionCounter(counts=VersionCounts(), observer=EventLog())
    together, shown = VersionCounts(), VersionCounts()
    assert elsewhere.take() is None
    for _ in range(2):
        for event in events:
            alone.observe(event)
            elsewhere.observe(event)
        taken = elsewhere.take()
        assert taken
        together.merge(taken)
    shown.become(together)
    for told in (together, shown):
        assert (told.success, told.fail, told.cached) == (alone.counts.success, alone.counts.fail, alone.counts.cached)
        assert (told.stages, told.batches) == (alone.counts.stages, alone.counts.batches)
        assert told.last_at > 0
