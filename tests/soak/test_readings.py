"""What is read of the server is what its observer writes."""

import os

import psutil
from prometheus_client import generate_latest
from tests.soak.readings import parse_metrics, resources

from nasfeat_server.telemetry import events
from nasfeat_server.telemetry.events import Outcome
from nasfeat_server.telemetry.prometheus import PrometheusObserver


def test_the_metrics_are_found_under_their_names() -> None:
    """Frames by outcome, gauges, replicas, deaths, batches and calls come through as they were observed."""
    observer = PrometheusObserver()
    observer.watch(
        devices=("cpu:0",),
        is_warm=lambda _: True,
        is_ready=lambda: True,
        capacity=lambda: 8,
        depth=lambda: 3,
        slots_in_use=lambda: 4,
        cache_bytes=lambda: 0,
    )
    for _ in range(5):
        observer.observe(events.FrameReceived())
    for outcome, reason in ((Outcome.OK, ""), (Outcome.ERROR, "ReplicaLost"), (Outcome.ERROR, "ExecutionFailed")):
        observer.observe(events.FrameFinished(outcome=outcome, reason=reason, stages_s={}))
    observer.observe(events.StreamOpened(overload="block"))
    observer.observe(events.ReplicaReady(device="cpu:0", start_s=1.0))
    observer.observe(events.ReplicaDied(device="cpu:1", cause="hung"))
    observer.observe(events.BatchFinished(device="cpu:0", size=4, limit=8, close_reason="full", busy_s=0.1))
    observer.observe(events.RequestFinished(method="GetModel", code="OK"))
    metrics = parse_metrics(generate_latest(observer.registry).decode())
    assert metrics.frames == {"ok": 1, "error": 2}
    assert metrics.busy == {"in flight": 2, "streams": 1, "slots in use": 4, "queue depth": 3}
    assert metrics.replicas_up == 1
    assert metrics.deaths == {"hung": 1}
    assert metrics.computed == 4
    assert metrics.calls == {"GetModel OK": 1}


def test_a_descriptor_and_memory_are_seen() -> None:
    """A file that is opened counts as one more descriptor; resident memory holds the part without the arena."""
    process = psutil.Process()
    before = resources(process)
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        assert resources(process).descriptors == before.descriptors + 1
    finally:
        os.close(descriptor)
    assert 0 < before.private <= before.rss
    assert sum(before.threads.values()) == process.num_threads()
