"""What is done to the server: drawn from a seed, before anything happens."""

import random
from dataclasses import dataclass
from enum import StrEnum

from nasfeat.v1 import feature_service_pb2 as pb

_POLICIES = tuple(value for value in pb.OverloadPolicy.values() if value)
_PRIORITIES = tuple(value for value in pb.Priority.values() if value)
# One pixel vector, a signature and its classes, an average, a map of a few hundred kilobytes, several at once.
_OUTPUTS: tuple[tuple[tuple[str, ...], int], ...] = (
    ((), 0),
    (("global_pool",), 5),
    (("image_feature_vector", "Logits"), 0),
    (("global_pool", "Cell_0/mean", "Predictions"), 0),
    (("Stem",), 0),
    (("global_pool", "Cell_4"), 1),
)


class Ending(StrEnum):
    """How a stream ends."""

    FINISH = "finish"
    CANCEL = "cancel"
    BREAK = "break"  # A frame whose id is not greater than the one before.


class Deed(StrEnum):
    """What is done to a process."""

    KILL_CLIENT = "kill_client"
    KILL_REPLICA = "kill_replica"
    STOP_REPLICA = "stop_replica"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """One stream.

    Attributes:
        frames: how many are sent, unless it is cancelled before.
        pause_s: seconds between them; 0 sends as fast as the wire takes them.
        read_pause_s: seconds between readings; a slow reader.
        frames_per_message: asked for; kept to as granted.
        heeds_window: no more are in flight than the server wants.
        cancel_after_s: for `Ending.CANCEL`, from the opening on.
    """

    overload_policy: int
    delivery_order: int
    priority: int
    outputs: tuple[str, ...]
    top_k: int
    window: int
    deadline_s: float | None
    frames: int
    pause_s: float
    read_pause_s: float
    frames_per_message: int
    heeds_window: bool
    ending: Ending
    cancel_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """One unary call: how many images, its deadline, when it is cancelled, and the pause after it."""

    images: int
    outputs: tuple[str, ...]
    top_k: int
    timeout_s: float
    cancel_after_s: float | None
    pause_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One thing done to a process.

    Attributes:
        after_s: seconds since the one before.
        victim: 0 to 1, of those there are.
        stopped_s: for `Deed.STOP_REPLICA`, until the process may go on, if it still lives.
    """

    after_s: float
    deed: Deed
    victim: float
    stopped_s: float


def drawing(seed: object, what: str) -> random.Random:
    """Give the random numbers of one part, which do not depend on those that other parts draw."""
    return random.Random(f"{seed} {what}")  # noqa: S311 - a soak keeps no secrets


def starts_with_vector(plan: StreamPlan | CallPlan) -> bool:
    """Tell whether the first output of `plan` is the feature vector."""
    return plan.outputs[0] in ("global_pool", "image_feature_vector") if plan.outputs else not plan.top_k


def stream_plan(draw: random.Random) -> StreamPlan:
    """Draw a stream."""
    outputs, top_k = draw.choice(_OUTPUTS)
    return StreamPlan(
        overload_policy=draw.choice(_POLICIES),
        delivery_order=draw.choice((pb.DELIVERY_ORDER_ORDERED, pb.DELIVERY_ORDER_AS_COMPLETED)),
        priority=draw.choice(_PRIORITIES),
        outputs=outputs,
        top_k=top_k,
        window=draw.choice((0, 1, 4, 16, 32)),
        deadline_s=draw.choice((None, None, 0.02, 0.2, 2.0)),
        frames=draw.randint(1, 400),
        pause_s=draw.choice((0.0, 0.01, 0.03, 0.1)),
        read_pause_s=draw.choice((0.0, 0.0, 0.0, 0.05)),
        frames_per_message=draw.choice((0, 1, 3, 50)),
        heeds_window=draw.random() < 0.5,
        ending=draw.choices(tuple(Ending), (6, 3, 1))[0],
        cancel_after_s=draw.choice((0.0, draw.uniform(0.0, 0.2), draw.uniform(0.0, 5.0))),
    )


def call_plan(draw: random.Random) -> CallPlan:
    """Draw a unary call."""
    outputs, top_k = draw.choice(_OUTPUTS)
    return CallPlan(
        images=draw.randint(1, 16),
        outputs=outputs,
        top_k=top_k,
        timeout_s=draw.choice((0.01, 0.1, 10.0, 10.0, 10.0)),
        cancel_after_s=draw.uniform(0.0, 0.1) if draw.random() < 0.2 else None,
        pause_s=draw.uniform(0.0, 0.3),
    )


def blow(draw: random.Random, *, hang_s: float) -> Blow:
    """Draw what is done next to a process; the server takes a replica for hung after `hang_s`."""
    return Blow(
        after_s=draw.uniform(2.0, 8.0),
        deed=draw.choices(tuple(Deed), (5, 3, 3))[0],
        victim=draw.random(),
        stopped_s=draw.choice((draw.uniform(0.1, 0.5 * hang_s), hang_s + 2.0)),
    )
