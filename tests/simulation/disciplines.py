"""What decides which frames a device gets next: the contract, and two disciplines to compare ours with."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.simulation.devices import Device
from tests.simulation.streams import Frame, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Frames that a device, by its place in the fleet, gets as one batch."""

    device: int
    frames: tuple[Frame, ...]


class Discipline(Protocol):
    """The server as the simulator sees it; every method decides at once."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def open(self, number: int, stream: Stream) -> None:
        """Let a stream take part."""
        ...

    def admits(self, frame: Frame, now: float) -> bool:
        """Tell whether a frame that has just arrived may wait; it is refused otherwise."""
        ...

    def displaced(self, frame: Frame) -> Frame | None:
        """Give the frame that has to go for an admitted one; it no longer waits. It may be `frame` itself."""
        ...

    def push(self, frame: Frame) -> None:
        """Let an admitted frame wait."""
        ...

    def expired(self, now: float) -> Sequence[Frame]:
        """Take out the frames that are given up."""
        ...

    def match(self, now: float) -> Sequence[Start]:
        """Take out the frames that devices get now; a device holds two batches at most."""
        ...

    def finished(self, device: int, size: int, busy_s: float, now: float) -> None:
        """Take note that a device has ended the oldest batch that it holds."""
        ...

    def wake_at(self, now: float) -> float | None:
        """Say when to be asked again though nothing happens; None for never."""
        ...


class Fifo:
    """One queue, first come first served: a free device takes whatever waits, up to its limit.

    The device that has been free longest is served first. A batch may have any size, prepared or not.
    """

    def __init__(self, fleet: Sequence[Device]) -> None:
        self._fleet = fleet
        self._free = deque(range(len(fleet)))
        self._waiting: deque[Frame] = deque()

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "fifo"

    def open(self, number: int, stream: Stream) -> None:
        """Streams make no difference."""

    def admits(self, frame: Frame, now: float) -> bool:
        """Every frame may wait."""
        return True

    def displaced(self, frame: Frame) -> Frame | None:
        """No frame has to go."""
        return None

    def push(self, frame: Frame) -> None:
        """Put it at the end."""
        self._waiting.append(frame)

    def expired(self, now: float) -> Sequence[Frame]:
        """No frame is given up."""
        return ()

    def match(self, now: float) -> Sequence[Start]:
        """Give each free device what waits."""
        starts = []
        while self._free and (size := self._size(self._fleet[self._free[0]], now)):
            frames = tuple(self._waiting.popleft() for _ in range(size))
            starts.append(Start(device=self._free.popleft(), frames=frames))
        return starts

    def _size(self, device: Device, now: float) -> int:
        return min(len(self._waiting), device.limit)

    def finished(self, device: int, size: int, busy_s: float, now: float) -> None:
        """The device is free."""
        self._free.append(device)

    def wake_at(self, now: float) -> float | None:
        """Never."""
        return None


class DynamicBatching(Fifo):
    """Dynamic batching as NVIDIA Triton's documentation describes it, one instance of the model a device.

    Imitated: `max_batch_size` and `preferred_batch_size`, both the device's limit, and
    `max_queue_delay_microseconds`. An instance that is free takes a batch of the preferred size at once if so many
    requests wait; else the batch is held back until there are, or until the oldest has waited for the delay, and then
    leaves as it is. Left at their defaults, and so not imitated: `priority_levels`, queue policies with time-outs,
    `preserve_ordering`. Source: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/batcher.html

    Args:
        fleet: the devices.
        delay_s: the delay; half of the time of a full batch on the fastest device if None.
    """

    def __init__(self, fleet: Sequence[Device], delay_s: float | None = None) -> None:
        super().__init__(fleet)
        self._delay_s = min(device.mean_s(device.limit) for device in fleet) / 2 if delay_s is None else delay_s

    @property
    def name(self) -> str:
        """What the report calls it."""
        return "dynamic batching"

    def _size(self, device: Device, now: float) -> int:
        waiting = super()._size(device, now)
        due = waiting == device.limit or (waiting and now >= self._waiting[0].sent_at + self._delay_s)
        return waiting if due else 0

    def wake_at(self, now: float) -> float | None:
        """When the oldest request has waited long enough, if a device is free."""
        return self._waiting[0].sent_at + self._delay_s if self._free and self._waiting else None
