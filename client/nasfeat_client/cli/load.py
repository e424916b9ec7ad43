"""A load of streams for a server, and what became of it."""

import asyncio
import random
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from nasfeat_client._client import AsyncFeatureClient
from nasfeat_client.config import ClientConfig
from nasfeat_client.errors import NasfeatError
from nasfeat_client.images import Frame, Image
from nasfeat_client.result import Result
from nasfeat_client.types import StreamOptions, Timings

_RANKS = (50, 90, 99, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of the server.

    Attributes:
        streams: open at once.
        rate: frames a second over all streams; None sends as fast as the windows allow.
        poisson: frames come at random, so many a second on the average, as from many independent users; otherwise at
            equal distances.
        duration_s: for how long frames are sent.
        options: of every stream.
        seed: of what is random.
    """

    streams: int
    rate: float | None
    poisson: bool
    duration_s: float
    options: StreamOptions
    seed: int = 0


@dataclass(slots=True, kw_only=True)
class Measured:
    """What has become of a load so far.

    Attributes:
        sent: frames given to the SDK.
        unsent: frames that were due, and for which there was no room before the time was over.
        outcomes: answers by kind: "ok", "dropped", or the reason of an error.
        latencies_s: of the answers that are "ok", in the order in which they came: from when a frame was due, so that
            frames that a slow server keeps from being sent count the time that they waited; without a rate from when
            it was taken.
        stages_s: the server's own seconds, summed over those.
        failures: streams that ended early, and why.
        elapsed_s: from the first frame to the last answer.
    """

    sent: int = 0
    unsent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    stages_s: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    resumptions: int = 0
    elapsed_s: float = 0.0

    @property
    def answered(self) -> int:
        """Frames with a result of whichever kind."""
        return self.outcomes.total()

    @property
    def all_well(self) -> bool:
        """Whether every frame got features, or was dropped as its stream's policy wants it."""
        return not self.failures and self.outcomes.keys() <= {"ok", "dropped"} and self.outcomes["ok"] > 0

    def take(self, result: Result, latency_s: float) -> None:
        """Count one result."""
        if result.dropped:
            self.outcomes["dropped"] += 1
        elif result.error:
            self.outcomes[result.error.reason.name] += 1
        else:
            self.outcomes["ok"] += 1
            self.latencies_s.append(latency_s)
            for stage in fields(Timings):
                self.stages_s[stage.name] += getattr(result.timings, stage.name)

    def percentiles_s(self, last: int | None = None) -> dict[str, float]:
        """Give percentiles of the latencies, of the `last` ones or of all; empty without any."""
        values = self.latencies_s[-last:] if last else self.latencies_s
        return {f"p{rank:g}": float(np.percentile(values, rank)) for rank in _RANKS} if values else {}

    def report(self, plan: Plan) -> dict[str, Any]:
        """Say all of it, for JSON."""
        succeeded = self.outcomes["ok"]
        options = {name: value for name, value in asdict(plan.options).items() if value}
        return {
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "plan": asdict(plan)
            | {"options": {name: getattr(value, "name", value) for name, value in options.items()}},
            "sent": self.sent,
            "unsent": self.unsent,
            "answered": self.answered,
            "outcomes": dict(self.outcomes),
            "failures": dict(self.failures),
            "resumptions": self.resumptions,
            "elapsed_s": self.elapsed_s,
            "offered_per_s": self.sent / plan.duration_s,
            "succeeded_per_s": succeeded / self.elapsed_s if self.elapsed_s else 0.0,
            "latency_s": self.percentiles_s() | {"max": max(self.latencies_s, default=0.0)},
            "mean_stages_s": {name: total / max(1, succeeded) for name, total in self.stages_s.items()},
        }


async def run_load(
    target: Sequence[str], plan: Plan, images: list[Image], measured: Measured, config: ClientConfig | None = None
) -> None:
    """Put the load of `plan` on servers; counts into `measured` as it goes.

    Args:
        target: "host:port" of each server.
        plan: the load.
        images: sent in turn; each stream begins elsewhere.
        measured: see there.
        config: how to speak to them.
    """
    began_at = time.monotonic()
    async with AsyncFeatureClient(target, config=config) as client, asyncio.TaskGroup() as tasks:
        for number in range(plan.streams):
            stream = _Stream(plan, images[number % len(images) :] + images[: number % len(images)], number, measured)
            tasks.create_task(stream.run(client, began_at))
    measured.elapsed_s = time.monotonic() - began_at


class _Stream:
    """One stream of a load."""

    def __init__(self, plan: Plan, images: Sequence[Image], number: int, measured: Measured) -> None:
        self._plan = plan
        self._images = images
        self._measured = measured
        self._random = random.Random(f"{plan.seed}/{number}")  # noqa: S311 - arrivals, not secrets
        self._rate = plan.rate and plan.rate / plan.streams
        # When each frame on its way was due.
        self._due_at: dict[int, float] = {}

    async def run(self, client: AsyncFeatureClient, began_at: float) -> None:
        """Send frames until the time is over, and take their results."""
        stream = client.stream(self._frames(began_at), self._plan.options)
        try:
            async with aclosing(stream):
                async for result in stream:
                    self._measured.take(result, time.monotonic() - self._due_at.pop(result.frame_id))
        except NasfeatError as error:
            self._measured.failures[f"{type(error).__name__}: {error}"] += 1
        self._measured.resumptions += stream.resumptions

    async def _frames(self, began_at: float) -> AsyncIterator[Frame]:
        ends_at = began_at + self._plan.duration_s
        wait_s = self._waits()
        # Streams do not begin in step.
        due_at = began_at + (self._random.random() / self._rate if self._rate else 0.0)
        number = 0
        while True:
            now = time.monotonic()
            due_at = due_at if self._rate else now
            if due_at >= ends_at or now >= ends_at:
                break
            await asyncio.sleep(max(0.0, due_at - now))
            self._due_at[number] = due_at
            self._measured.sent += 1
            yield Frame(self._images[number % len(self._images)], frame_id=number)
            number += 1
            due_at += wait_s()
        while due_at < ends_at and self._rate:
            self._measured.unsent += 1
            due_at += wait_s()

    def _waits(self) -> Callable[[], float]:
        rate = self._rate
        if not rate:
            return lambda: 0.0
        return (lambda: self._random.expovariate(rate)) if self._plan.poisson else (lambda: 1 / rate)
