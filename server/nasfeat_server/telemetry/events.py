"""What happens in the server, as plain frozen values, and the protocol of whoever wants to know.

The core emits events and knows nothing of Prometheus; `nasfeat_server.telemetry.prometheus` turns them into metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from nasfeat_server.telemetry.traces import ImageTrace, Traced


class Stage(StrEnum):
    """The stages of an image's life, in order; metric labels and `Timings` use the same words."""

    RECEIVE = "receive"
    DECODE = "decode"
    QUEUE = "queue"
    EXECUTE = "execute"
    REPLY = "reply"


class Outcome(StrEnum):
    """How the life of an image ended."""

    OK = "ok"
    DROPPED = "dropped"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    INVALID = "invalid"
    ERROR = "error"


class Source(StrEnum):
    """Where an image's features come from: a device worked for it, or for the same image before it."""

    COMPUTED = "computed"
    SHARED = "shared"
    CACHED = "cached"


class ModelLabel(StrEnum):
    """What a version of the model is to the server: it has one of each at most."""

    STABLE = "stable"
    CANARY = "canary"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReceived:
    """An image has arrived; exactly one FrameFinished will follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFinished:
    """An image was answered, or nobody waits for it any more.

    Attributes:
        reason: the name of the error or drop reason, "" when all went well.
        stages_s: seconds in each stage that the image went through.
        source: where its features come from; None if it has none.
        label: what the version of the model was that had the image.
        age_s: seconds from the capture of an image that got features until these were sent; None if nobody knows. It is
            by two clocks, the client's and ours, and can be less than 0.
        trace: what is to be told of it beside that, if it is traced.
    """

    outcome: Outcome
    reason: str
    stages_s: Mapping[Stage, float]
    source: Source | None = None
    label: ModelLabel = ModelLabel.STABLE
    age_s: float | None = None
    trace: ImageTrace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAsked:
    """The cache of results was asked for those of an image; `hit` if it had them."""

    hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """A call of any service has arrived; exactly one CallEnded will follow.

    Attributes:
        method: "package.Service/Method", or "other" for one that is not served.
    """

    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """A call of any service is over.

    Attributes:
        code: the name of its gRPC status.
        sent_bytes: size of all messages sent, as they were before compression and framing.
        received_bytes: the same of those received.
        traced: None if it is not.
    """

    method: str
    code: str
    duration_s: float
    sent_bytes: int
    received_bytes: int
    traced: Traced | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An image or a whole call was answered with an error.

    Attributes:
        reason: the name of the error.
        message: what the client is told.
        stream_id: the client's or the server's name for the stream; "" outside of one.
        frame_id: of the image; None for a whole call.
        tenant: whose; "" if nobody has to say.
        traced: None if it is not.
    """

    method: str
    reason: str
    message: str
    stream_id: str = ""
    frame_id: int | None = None
    tenant: str = ""
    traced: Traced | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFinished:
    """A call ended; `code` is the name of its gRPC status."""

    method: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    """A stream was granted; `overload` is the value of its `OverloadPolicy`."""

    overload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClosed:
    """A granted stream ended."""

    overload: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFinished:
    """A replica computed a batch.

    Attributes:
        close_reason: "full" when no more would fit, "idle" when the device was free and took what there was,
            "deadline" when more would have been too late, "retry" when a replica had given the batch back before.
        limit: the largest batch that the replica took then.
        busy_s: seconds the device worked on it.
    """

    device: str
    size: int
    limit: int
    close_reason: str
    busy_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimitChanged:
    """A replica's largest batch from now on; it shrinks when the device runs out of memory, and grows again."""

    device: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStarted:
    """A process for a device was started; ReplicaEnded will follow."""

    device: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaEnded:
    """A process for a device is gone, whatever for."""

    device: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReady:
    """A replica has warmed every batch size and takes work; the cosines are of another precision than fp32 to that."""

    device: str
    start_s: float
    mean_cosine: float | None = None
    min_cosine: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDied:
    """A replica is gone and will be started again.

    `cause` is "killed", "exited", "hung", "node_lost" or "failed_start".
    """

    device: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaQuarantined:
    """A device's replicas died so often that it is left alone for `pause_s`; its next ReplicaReady ends that."""

    device: str
    pause_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaParked:
    """The load does not need a replica of a device: it ends, and none is started until the load does."""

    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One version of the model.

    Attributes:
        share: of the new calls that do not name a version, from 0 to 1.
    """

    name: str
    version: str
    weights_digest: str
    weights_source: str
    precision: str
    trained: bool
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsChanged:
    """From now on these versions of the model are served, under these labels."""

    models: Mapping[ModelLabel, ModelFacts]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadFinished:
    """An operator's order to change the versions has ended: "loaded", "promoted", "rolled_back" or "failed"."""

    outcome: str


Event = (
    FrameReceived
    | FrameFinished
    | Refused
    | CacheAsked
    | RequestFinished
    | CallStarted
    | CallEnded
    | StreamOpened
    | StreamClosed
    | BatchFinished
    | BatchLimitChanged
    | ReplicaStarted
    | ReplicaEnded
    | ReplicaReady
    | ReplicaDied
    | ReplicaQuarantined
    | ReplicaParked
    | ModelsChanged
    | ReloadFinished
)


class Observer(Protocol):
    """Whoever wants to know. Called on the event loop for every event: it must not block or raise."""

    def observe(self, event: Event) -> None:
        """Take note of `event`."""
        ...
