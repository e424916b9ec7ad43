"""The verdict: a soak in which all is well passes, and each thing that is not is named."""

import dataclasses
from typing import Any

import pytest
from tests.soak.findings import Findings, Sample, growth, reasons
from tests.soak.ledger import FIELDS
from tests.soak.processes import Ended
from tests.soak.readings import Metrics, Resources

_TAKEN = Resources(rss=100 * 2**20, private=90 * 2**20, threads={"server": 14}, descriptors=20)
_METRICS = Metrics(
    # Of five frames unanswered, one was on its way back and two were never read.
    frames={"ok": 91, "invalid": 5, "cancelled": 2},
    busy={"in flight": 0, "streams": 0},
    replicas_up=2,
    deaths={"killed": 1},
    computed=91,
    calls={"StreamFeatures OK": 3, "StreamFeatures CANCELLED": 1},
)


def ended(*, killed: bool = False, complaints: tuple[str, ...] = (), **counts: int) -> Ended:
    """Make a client that has ended."""
    return Ended(counts=dict.fromkeys(FIELDS, 0) | counts, complaints=complaints, killed=killed)


_SURVIVOR = ended(sent=75, ok=70, invalid=5, streams=3, calls=1)
_VICTIM = ended(sent=25, ok=20, streams=1, killed=True)


def samples(*megabytes: float) -> tuple[Sample, ...]:
    """Make a sample a second, at rest with `megabytes`, a minute each, or under load with ever more."""
    return tuple(
        Sample(at_s=at_s, at_rest=at_rest, resources=dataclasses.replace(_TAKEN, rss=int(taken * 2**20)))
        for at_s in range(60 * len(megabytes))
        for at_rest, taken in ((False, 1000 + at_s), (True, megabytes[at_s // 60]))
    )


_WELL = Findings(
    seed=0,
    load_s=180.0,
    samples=samples(50, 100, 104),
    before=_TAKEN,
    after=_TAKEN,
    idle=True,
    metrics=_METRICS,
    replicas_wanted=2,
    replicas=2,
    clients=(_VICTIM, _SURVIVOR),
    dealt={"kill_client": 1},
    cancelled_at_the_end=1,
    exit_status=0,
    orphans=(),
    log_complaints=(),
)


def test_a_soak_in_which_all_is_well_passes() -> None:
    """Books that balance, an idle server, nothing left behind: no reasons."""
    assert reasons(_WELL) == []


def metrics(**changes: Any) -> Metrics:
    """Give the metrics of a good soak, but for `changes`."""
    return dataclasses.replace(_METRICS, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metrics": metrics(frames={"ok": 98, "invalid": 5, "cancelled": 2})}, "the server counts 105"),
        ({"metrics": metrics(frames={"ok": 89, "invalid": 5, "cancelled": 2})}, "90 frames were answered as ok"),
        ({"metrics": metrics(frames={"ok": 91, "invalid": 1})}, "the server counts 92"),
        ({"metrics": metrics(frames={"ok": 90, "invalid": 5, "lost": 1})}, "outcomes that no client knows: lost"),
        ({"metrics": metrics(frames={"ok": 90, "invalid": 5, "cancelled": 6})}, "only 5 had no answer"),
        ({"metrics": metrics(calls={"StreamFeatures INTERNAL": 1})}, "1 calls ended badly: StreamFeatures INTERNAL"),
        ({"cancelled_at_the_end": 0}, "none was cancelled"),
        ({"idle": False}, "did not become idle"),
        (
            {"after": dataclasses.replace(_TAKEN, threads={"server": 15})},
            "14 threads of server before",
        ),
        ({"after": dataclasses.replace(_TAKEN, descriptors=21)}, "20 descriptors before the load and has 21"),
        ({"replicas": 3}, "3 processes for 2 replicas"),
        ({"samples": samples(50, 100, 106)}, "grew by 6.0%"),
        ({"exit_status": -9}, "ended with -9 after SIGTERM"),
        ({"exit_status": None}, "ended with None after SIGTERM"),
        ({"orphans": ("4711",)}, "left behind: 4711"),
        ({"log_complaints": ("a trace",)}, "log says: a trace"),
        ({"clients": (_SURVIVOR, ended(sent=25, ok=20, streams=1))}, "5 frames neither answered nor given up"),
        ({"clients": (_VICTIM, _SURVIVOR, ended(complaints=("frame 3 ...",)))}, "frame 3 ..."),
        ({"clients": (_VICTIM, ended(sent=75, ok=70, invalid=5, streams=3))}, "the load had no calls"),
    ],
)
def test_what_does_not_hold_is_named(changes: dict[str, Any], reason: str) -> None:
    """Each finding that is out of order gives a reason, which says what and how much."""
    assert any(reason in one for one in reasons(dataclasses.replace(_WELL, **changes)))


def test_memory_that_shrinks_is_no_reason() -> None:
    """Only growth is held against the server."""
    assert reasons(dataclasses.replace(_WELL, samples=samples(50, 100, 60))) == []


def test_growth_is_that_in_rests_after_the_first_minute() -> None:
    """What the server takes while it warms or has work is not compared, and a short load is not judged."""
    found = growth(samples(1, 100, 103))
    assert found
    assert found.ratio == pytest.approx(0.03)
    assert growth(samples(1, 100)[:-4]) is None


def test_a_thread_more_in_grpcs_own_pool_is_no_reason() -> None:
    """That pool grows by itself when it is busy; it may not grow without bound."""
    before = dataclasses.replace(_TAKEN, threads={"event_engine": 4})
    more, many = (dataclasses.replace(_TAKEN, threads={"event_engine": number}) for number in (5, 9))
    assert reasons(dataclasses.replace(_WELL, before=before, after=more)) == []
    assert len(reasons(dataclasses.replace(_WELL, before=before, after=many))) == 1
