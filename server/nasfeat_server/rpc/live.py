"""What is to be told of a stream while it is open."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from nasfeat_server.errors import NasfeatError
from nasfeat_server.telemetry.events import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStream:
    """An open stream at one moment.

    Attributes:
        stream_id: its name, which may be of the client's choice.
        tenant: whose; "" if nobody has to say.
        version: the operator's name for the weights that it has.
        overload: what becomes of its frames when they come too fast.
        priority: "low", "normal" or "high".
        window: frames that may be in flight.
        in_flight: frames read and not yet answered.
        received: frames read.
        outcomes: frames answered, by how.
        opened_at: on the monotonic clock.
    """

    stream_id: str
    tenant: str
    version: str
    overload: str
    priority: str
    window: int
    in_flight: int
    received: int
    outcomes: Mapping[Outcome, int]
    opened_at: float


class OpenStream(Protocol):
    """A stream, of whatever protocol, to those who look after all of them."""

    @property
    def owner(self) -> str:
        """Whose it is; "" if nobody has to say."""
        ...

    @property
    def rank(self) -> tuple[int, float]:
        """Orders streams: those with more frames in flight above others, of equals those opened later."""
        ...

    def live(self) -> LiveStream:
        """Tell how it goes; from any thread, a frame late."""
        ...

    def stop_reading(self, why: NasfeatError, *, linger_s: float = 0.0) -> None:
        """End the stream with `why` once the frames in flight are answered, and `linger_s` after that."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToldStream:
    """An `OpenStream` of another process, as that has told of it.

    Attributes:
        told: how it went then.
        rank: as `OpenStream.rank`.
    """

    told: LiveStream
    rank: tuple[int, float]

    @property
    def owner(self) -> str:
        """Whose it is; "" if nobody has to say."""
        return self.told.tenant

    def live(self) -> LiveStream:
        """Tell how it went."""
        return self.told

    def stop_reading(self, why: NasfeatError, *, linger_s: float = 0.0) -> None:
        """Do nothing: its own process ends it, when that is told to stop."""
