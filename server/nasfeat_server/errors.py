"""Everything that can go wrong with a request, as one tree.

`nasfeat_server.rpc.status` maps each leaf to one gRPC status code and one `ErrorReason`; a test holds the map total.
Messages are written for the person who sent the request: what was wrong, with the numbers, and what is allowed.
"""

from collections.abc import Sequence
from typing import Literal


class NasfeatError(Exception):
    """Base of every error that a client can be answered with."""


class InvalidImageError(NasfeatError):
    """The image cannot be decoded, or is outside the configured limits."""


class InvalidRequestError(NasfeatError):
    """The request or its options are wrong: an unknown output, a frame id used twice, a missing image."""


class ModelNotFoundError(NasfeatError):
    """The request names a model that this server does not serve."""


class UnauthenticatedError(NasfeatError):
    """The caller has not said who it is, or is not, or no longer, known.

    Attributes:
        reason: which of these, in one word.
    """

    def __init__(self, message: str, *, reason: Literal["missing", "malformed", "unknown", "revoked"]) -> None:
        """Keep `message` for the client and `reason` for whoever counts."""
        super().__init__(message)
        self.reason = reason


class OverloadedError(NasfeatError):
    """The server is full; the same request may succeed later.

    Attributes:
        retry_after_s: when it is worth while to ask again.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        """Keep `message` for the client and `retry_after_s` for its retry policy."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlinePassedError(NasfeatError):
    """The deadline passed before the device was reached, or would have.

    Attributes:
        retry_after_s: when the same deadline could be met; None if it passed while the work waited.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """Keep `message` for the client and `retry_after_s` for its retry policy."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ShuttingDownError(NasfeatError):
    """The server is stopping and takes no new work."""


class ExecutionFailedError(NasfeatError):
    """The engine ran and failed on this work."""


class DeviceMemoryError(ExecutionFailedError):
    """The device has not the memory for a batch of this size; a smaller one may fit."""


class ReplicaLostError(NasfeatError):
    """The replica that had this work died, hung or is gone; other replicas may still run it.

    Attributes:
        started: the replica had begun this very batch, so that the batch may be what killed it.
    """

    def __init__(self, message: str, *, started: bool = True) -> None:
        """Keep `message` for the client and `started` for the scheduler."""
        super().__init__(message)
        self.started = started


class SupersededError(Exception):
    """A newer frame of the stream took this one's place: an answer that the stream asked for, and no failure."""


class ConfigurationError(Exception):
    """The server cannot start as it was told to; the message says which setting, and what is allowed."""


class InvalidSettingsError(ConfigurationError):
    """Settings are outside their bounds, or do not go together.

    Attributes:
        wrong: for each of them the field of the configuration, and what is allowed.
    """

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        """Keep what is wrong, all of it."""
        super().__init__("; ".join(message for _, message in wrong))
        self.wrong = tuple(wrong)


class ReloadError(Exception):
    """An operator's order about the versions of the model cannot be carried out; what is served stays as it is."""


class WeightsError(ConfigurationError):
    """The weights cannot be had, or are not those of the network asked for."""


class CacheError(WeightsError):
    """What was made cannot be kept in the cache: it is full, read-only or no directory at all."""
