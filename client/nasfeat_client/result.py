"""What comes back for one image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nasfeat_client._status import ERRORS
from nasfeat_client.errors import FrameDroppedError, OverloadedError
from nasfeat_client.types import DropReason, ErrorReason, ModelIdentity, ResultSource, Timings

FEATURE_VECTOR = "global_pool"
"""The name of the output that is the feature vector."""

Array: TypeAlias = npt.NDArray[np.float32]
"""float32 values, read-only: they lie in the very bytes that were received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameError:
    """Why one image has no features; other images are not affected.

    Attributes:
        reason: the kind of failure.
        message: what was wrong and what is allowed.
        retry_after_s: seconds after which trying again is worth while; None if the server cannot tell.
    """

    reason: ErrorReason
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """One class that a picture may be of.

    Attributes:
        class_index: its position in the classifier's outputs; of 1001 ImageNet classes, 0 is the background.
        label: its name; "" if the server's weights came without names.
        probability: 0 to 1; over all classes the probabilities add up to 1.
    """

    class_index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """The one answer to an image: features, an error, or dropped.

    Attributes:
        frame_id: the frame's id; without a choice of the caller's, its number in the stream, from 0.
        capture_time: the frame's capture time in UTC, if it had one.
        outputs: what the network gave, float32 arrays by the output's name: [length], or [rows, columns, channels]
            of a spatial map; empty unless `ok`.
        classes: the most probable classes, the most probable first: as many as `top_k` asked for.
        error: why there are no features, if it failed.
        dropped: why it was given up, if it was.
        identity: the model that made, or would have made, this result.
        timings: where the time went inside the server.
        source: whether a device worked for this very image; None unless `ok`.
        stream_id: the name of its stream; "" of a single call.
    """

    frame_id: int
    capture_time: datetime | None = None
    outputs: Mapping[str, Array] = field(default_factory=dict)
    classes: tuple[Classification, ...] = ()
    error: FrameError | None = None
    dropped: DropReason | None = None
    identity: ModelIdentity
    timings: Timings
    source: ResultSource | None = None
    stream_id: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is what was asked for: features, classes or both."""
        return self.error is None and self.dropped is None

    @property
    def vector(self) -> Array:
        """The feature vector: float32 [feature length], read-only.

        Raises:
            NasfeatError: the image failed or was dropped.
            KeyError: other outputs, or only classes, were asked for.
        """
        self.raise_for_error()
        if FEATURE_VECTOR not in self.outputs:
            given = ", ".join(self.outputs) or "nothing"
            raise KeyError(
                f"the feature vector was not asked for: `outputs` has {given}; ask for {FEATURE_VECTOR!r} too"
            )
        return self.outputs[FEATURE_VECTOR]

    def raise_for_error(self) -> None:
        """Do nothing if the result is `ok`.

        Raises:
            NasfeatError: of the kind that `error.reason` names.
            FrameDroppedError: the frame was dropped.
        """
        if self.error and self.error.reason is ErrorReason.OVERLOADED:
            raise OverloadedError(self.error.message, retry_after_s=self.error.retry_after_s)
        if self.error:
            raise ERRORS[self.error.reason](self.error.message)
        if self.dropped:
            raise FrameDroppedError(f"frame {self.frame_id} was dropped: {self.dropped.name}")
