"""What a soak found, and what of it does not hold."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.soak.ledger import ANSWERS
from tests.soak.processes import Ended
from tests.soak.readings import Metrics, Resources

WARM_AFTER_S = 60.0
MAX_GROWTH = 0.05
_SPAN_S = 30.0
# Fewer samples than this say nothing about growth.
_SHORTEST_SPAN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the server took so many seconds after the load began."""

    at_s: float
    resources: Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that a soak found.

    Attributes:
        samples: one a second, under load.
        before: the idle server before the load; `after` once it was idle again.
        idle: it became idle.
        metrics: then.
        replicas: processes of the idle server.
        clients: those that ended, in that order.
        dealt: what was done to processes.
        cancelled_at_the_end: frames cancelled when the last client was killed with nobody beside it.
        exit_status: after SIGTERM; None if it did not end.
        orphans: processes of the soak that outlived the server.
        log_complaints: lines of the server's log that should not be there.
    """

    seed: int
    load_s: float
    samples: Sequence[Sample]
    before: Resources
    after: Resources
    idle: bool
    metrics: Metrics
    replicas_wanted: int
    replicas: int
    clients: Sequence[Ended]
    dealt: Mapping[str, int]
    cancelled_at_the_end: int
    exit_status: int | None
    orphans: Sequence[str]
    log_complaints: Sequence[str]

    @property
    def counts(self) -> Counter[str]:
        """The counters of all clients together."""
        total: Counter[str] = Counter()
        for client in self.clients:
            total.update(client.counts)
        return total

    @property
    def received(self) -> int:
        """Frames that had their outcome in the server, every one that it received when none is in flight."""
        return sum(self.metrics.frames.values())

    @property
    def lost(self) -> int:
        """Frames whose answers nobody saw: of killed clients and of calls that their clients gave up."""
        counts = self.counts
        return counts["sent"] - sum(counts[outcome] for outcome in ANSWERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The server's memory when warm and at the load's end, medians in bytes; None if the load was too short to tell."""

    warm: float
    late: float

    @property
    def ratio(self) -> float:
        """The growth, 0.01 for one per cent."""
        return self.late / self.warm - 1


def growth(samples: Sequence[Sample]) -> Growth | None:
    """Compare the resident memory after the first minute with that before the load's end."""
    end_s = samples[-1].at_s
    span_s = min(_SPAN_S, (end_s - WARM_AFTER_S) / 2)
    if span_s < _SHORTEST_SPAN_S:
        return None
    warm = [s.resources.rss for s in samples if WARM_AFTER_S <= s.at_s < WARM_AFTER_S + span_s]
    late = [s.resources.rss for s in samples if s.at_s >= end_s - span_s]
    return Growth(warm=statistics.median(warm), late=statistics.median(late))


def reasons(findings: Findings) -> list[str]:
    """Say what does not hold; nothing if all is well."""
    return [
        *_books(findings),
        *_leftovers(findings),
        *_clients(findings),
        *(f"the server's log says: {line}" for line in findings.log_complaints),
    ]


def _books(findings: Findings) -> Iterator[str]:
    """Hold the server's counters against the clients'.

    The server counts an answer when it has sent it: it knows of each one that was seen, and of some that were not.
    """
    counts, frames = findings.counts, findings.metrics.frames
    seen = sum(counts[outcome] for outcome in ANSWERS)
    if not seen <= findings.received <= counts["sent"]:
        yield f"{counts['sent']} frames were sent and {seen} answers seen, but the server counts {findings.received}"
    for outcome in ANSWERS:
        if frames.get(outcome, 0) < counts[outcome]:
            yield f"{counts[outcome]} frames were answered as {outcome}, but the server counts {frames.get(outcome, 0)}"
    if unknown := set(frames) - {*ANSWERS, "cancelled"}:
        yield f"the server counts outcomes that no client knows: {', '.join(sorted(unknown))}"
    if frames.get("cancelled", 0) > findings.lost:
        yield f"the server cancelled {frames['cancelled']} frames, but only {findings.lost} had no answer"
    if findings.cancelled_at_the_end == 0:
        yield "a client was killed with frames in flight, and none was cancelled"
    for code in ("INTERNAL", "UNKNOWN"):
        for call, number in findings.metrics.calls.items():
            if call.endswith(f" {code}"):
                yield f"{number} calls ended badly: {call}"


def left_over(before: Resources, now: Resources) -> list[str]:
    """Say what an idle server has more than `before`."""
    counted = {f"threads of {name}": (before.threads.get(name, 0), number) for name, number in now.threads.items()}
    counted["descriptors"] = (before.descriptors, now.descriptors)
    return [
        f"the server had {earlier} {what} before the load and has {later} after it"
        for what, (earlier, later) in counted.items()
        if later > earlier
    ]


def _leftovers(findings: Findings) -> Iterator[str]:
    if not findings.idle:
        yield f"the server did not become idle: {findings.metrics.busy}, {findings.metrics.replicas_up} replicas up"
    yield from left_over(findings.before, findings.after)
    if findings.replicas != findings.replicas_wanted:
        yield f"the idle server has {findings.replicas} processes for {findings.replicas_wanted} replicas"
    memory = growth(findings.samples)
    if memory and memory.ratio > MAX_GROWTH:
        yield f"the server's memory grew by {memory.ratio:.1%} after the first minute; {MAX_GROWTH:.0%} is allowed"
    if findings.exit_status != 0:
        yield f"the server ended with {findings.exit_status} after SIGTERM"
    if findings.orphans:
        yield f"processes were left behind: {', '.join(findings.orphans)}"


def _clients(findings: Findings) -> Iterator[str]:
    for client in findings.clients:
        yield from client.complaints
        if not client.killed and client.unanswered:
            yield f"a client that ended by itself has {client.unanswered} frames neither answered nor given up"
    counts = findings.counts
    for what in ("streams", "calls", "ok"):
        if not counts[what]:
            yield f"the load had no {what}: nothing was tried"
