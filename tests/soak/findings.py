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
# With less load than this after the first minute, nothing can be said about growth.
_SHORTEST_S = 60.0
# gRPC adds a thread to its own pool when all of them are busy, and keeps it while there is anything to do.
_SPARE_THREADS = {"threads of event_engine": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the server took so many seconds after the load began; `at_rest`: it had nothing to do."""

    at_s: float
    at_rest: bool
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
    """The server's memory in earlier and in later rests, medians in bytes."""

    warm: float
    late: float

    @property
    def ratio(self) -> float:
        """The growth, 0.01 for one per cent."""
        return self.late / self.warm - 1


def growth(samples: Sequence[Sample]) -> Growth | None:
    """Compare the resident memory in the rests of the two halves of what follows the first minute.

    Under load most of it are the images in flight, whose number is up to chance.
    """
    end_s = samples[-1].at_s
    if end_s < WARM_AFTER_S + _SHORTEST_S:
        return None
    middle_s = (WARM_AFTER_S + end_s) / 2
    resting = [sample for sample in samples if sample.at_rest and sample.at_s >= WARM_AFTER_S]
    warm = [sample.resources.rss for sample in resting if sample.at_s < middle_s]
    late = [sample.resources.rss for sample in resting if sample.at_s >= middle_s]
    return Growth(warm=statistics.median(warm), late=statistics.median(late)) if warm and late else None


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
        if later > earlier + _SPARE_THREADS.get(what, 0)
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
